"""The difference between two rows on the same images and, where they have several, seeds."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from t2t.errors import DataError
from t2t.evaluation.intervals import CONFIDENCE, Interval, over_images, quantile
from t2t.evaluation.predictions import Predictions


@dataclass(frozen=True)
class Difference:
    """Top-1 of a row minus that of another, in points, with its 95 % interval.

    `mcnemar_p`: the exact p-value (McNemar 1947) that the two are right equally often, of one seed;
    null for several, whose images are not independent.
    """

    seeds: int
    images: int
    delta_pct: float
    low_pct: float
    high_pct: float
    over: Literal["seeds and images", "images"]
    mcnemar_p: float | None


def paired_difference(
    ours: Mapping[int, Predictions], baseline: Mapping[int, Predictions]
) -> Difference | None:
    """`ours` minus `baseline`, both by seed, over the seeds they share; null where they share none.

    Of one seed the interval is over images, see `over_paired_images`. Of several both seeds and
    images are random, as other ones could have been taken: see `over_both`. Raises DataError where
    the two were not scored on the same images.
    """
    seeds = sorted(ours.keys() & baseline.keys())
    if not seeds:
        return None
    pairs = [(ours[seed], baseline[seed]) for seed in seeds]
    first = pairs[0][0].labels
    for seed, pair in zip(seeds, pairs, strict=True):
        if not all(np.array_equal(each.labels, first) for each in pair):
            raise DataError(f"seed {seed}: the labels differ, so the images are not the same")
    values = np.stack([a.correct.astype(np.float64) - b.correct for a, b in pairs])
    several = len(seeds) > 1
    interval = over_both(values) if several else over_paired_images(values[0])
    low, high = interval.within(-1.0, 1.0)
    return Difference(
        seeds=len(seeds),
        images=values.shape[1],
        delta_pct=100 * float(values.mean()),
        low_pct=100 * low,
        high_pct=100 * high,
        over="seeds and images" if several else "images",
        mcnemar_p=None if several else _mcnemar(values[0]),
    )


def over_paired_images(values: NDArray[np.float64]) -> Interval:
    """Interval of the mean of `values` (N,): 1 where only ours is right, -1 where the other is.

    Bonett and Price (2012): Wald's with one image more of either kind. Resampling would take the
    few images that decide for all there are: of 5 against 0 it says that the better one is better,
    which McNemar's exact test (p = 0.06) does not.
    """
    size = len(values) + 2
    better, worse = (((values == sign).sum() + 1) / size for sign in (1, -1))
    difference = better - worse
    half = stats.norm.ppf((1 + CONFIDENCE) / 2) * np.sqrt((better + worse - difference**2) / size)
    return Interval(float(difference - half), float(difference + half))


def over_both(values: NDArray[np.float64]) -> Interval:
    """Interval of the mean of `values` (S, N), S seeds crossed with N images, both random.

    Half its length is Student's over the seeds, and that over the images in quadrature, of what
    images vary in beyond chance: their mean square in the two-way table less that of the rest.
    Each part has its own quantile, since one for their sum (Satterthwaite) is too short for two
    seeds, and so is a bootstrap of so few. Simulated, it covers the truth in 93 to 97 % of cases,
    whichever part is the larger.
    """
    count_seeds, count_images = values.shape
    mean, by_seed, by_image = values.mean(), values.mean(1), values.mean(0)
    rest = values - by_seed[:, None] - by_image + mean
    of_rest = (rest**2).sum() / ((count_seeds - 1) * (count_images - 1))
    of_images = max(count_seeds * by_image.var(ddof=1) - of_rest, 0.0) / values.size
    of_seeds = by_seed.var(ddof=1) / count_seeds
    half = math.hypot(
        quantile(count_seeds - 1) * math.sqrt(of_seeds),
        quantile(count_images - 1) * math.sqrt(of_images),
    )
    if half == 0:
        return over_images(by_image)
    return Interval(float(mean) - half, float(mean) + half)


def _mcnemar(values: NDArray[np.float64]) -> float:
    """Of (N,) differences: 1 where only ours is right, -1 where only the other is."""
    better, worse = int((values > 0).sum()), int((values < 0).sum())
    return float(stats.binomtest(better, better + worse).pvalue) if better + worse else 1.0


def differences(
    rows: Mapping[str, Mapping[int, Predictions]], baselines: Mapping[str, str | None]
) -> dict[str, dict[str, Any]]:
    """For each row that has a baseline, both with predictions of a common seed, their difference.

    A key of `baselines`, and of what is returned, is a row or `<row>/<anything>`.
    Raises DataError naming two rows that were not scored on the same images.
    """
    found: dict[str, dict[str, Any]] = {}
    for key, baseline in baselines.items():
        if baseline is None:
            continue
        row = key.partition("/")[0]
        try:
            difference = paired_difference(rows.get(row, {}), rows.get(baseline, {}))
        except DataError as error:
            raise DataError(f"{row} and {baseline}: {error}; evaluate both again") from None
        if difference is not None:
            found[key] = {"baseline": baseline, **vars(difference)}
    return found
