"""Whether heads that are like their neighbours matter less: a rank correlation and its interval."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import rankdata

RESAMPLES = 2000
_COVERED_PCT = 95.0


@dataclass(frozen=True)
class RankCorrelation:
    """Spearman's rho over `heads` heads with its 95 % interval; None where a side is constant."""

    rho: float | None
    low: float | None
    high: float | None
    heads: int


def rank_correlation(similarity: ArrayLike, importance: ArrayLike) -> RankCorrelation:
    """Spearman's rho between two figures of the same heads, (n,) each; ties share their rank.

    The interval is the percentile bootstrap's over heads, with 2,000 fixed resamples. It takes
    heads for independent draws, so it says how certain rho is for these trained networks, not for
    networks trained anew. A resample whose one side is constant has no rho and is left out, as
    happens where few heads matter; `scipy.stats.bootstrap` would give no interval then.
    """
    pairs = np.stack([np.asarray(similarity, float), np.asarray(importance, float)])
    count = pairs.shape[1]
    rho = _spearman(pairs[:, None])[0] if count else np.nan
    if not np.isfinite(rho):
        return RankCorrelation(None, None, None, count)
    chosen = np.random.default_rng(0).integers(0, count, (RESAMPLES, count))
    resampled = _spearman(pairs[:, chosen])
    margin = (100 - _COVERED_PCT) / 2
    low, high = np.nanpercentile(resampled, [margin, 100 - margin])
    return RankCorrelation(float(rho), float(low), float(high), count)


def ranks_within(groups: Sequence[ArrayLike]) -> NDArray[np.float64]:
    """The ranks of each group's own figures, mapped to -1..1 and joined: (n,).

    What sets whole layers apart, such as their depth, is taken away so; a constant group is 0.
    """
    joined = []
    for group in groups:
        ranks = rankdata(group)
        joined.append(2 * (ranks - ranks.mean()) / max(1, len(ranks) - 1))
    return np.concatenate(joined)


def _spearman(pairs: NDArray[np.float64]) -> NDArray[np.float64]:
    """Correlation of ranks along the last axis: (2, resamples, n) -> (resamples,), NaN if none."""
    ranks = rankdata(pairs, axis=-1)
    ranks -= ranks.mean(-1, keepdims=True)
    sizes = np.sqrt(np.square(ranks).sum(-1))
    product = sizes[0] * sizes[1]
    covariance = (ranks[0] * ranks[1]).sum(-1)
    return np.divide(covariance, product, out=np.full_like(product, np.nan), where=product > 0)
