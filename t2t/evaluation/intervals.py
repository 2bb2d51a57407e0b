"""95 % intervals of an accuracy: over seeds, and over images where there is one seed."""

import math
import statistics
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

CONFIDENCE = 0.95
RESAMPLES = 10_000


class Interval(NamedTuple):
    """Lower and upper end."""

    low: float
    high: float

    def within(self, lowest: float, highest: float) -> "Interval":
        """The part that lies in [lowest, highest]."""
        return Interval(max(self.low, lowest), min(self.high, highest))


def over_seeds(values: Sequence[float]) -> Interval:
    """Student's t interval of the mean of two or more values, one of each seed."""
    half = statistics.stdev(values) / math.sqrt(len(values)) * quantile(len(values) - 1)
    mean = statistics.fmean(values)
    return Interval(mean - half, mean + half)


def quantile(degrees_of_freedom: float) -> float:
    """Of Student's t: so many standard errors to either side."""
    return float(stats.t.ppf((1 + CONFIDENCE) / 2, degrees_of_freedom))


def over_images(values: NDArray[Any]) -> Interval:
    """Bootstrap interval (BCa, Efron 1987) of the mean of `values` (N,), one of each image.

    `values` has few distinct ones, as right and wrong are. How often each is drawn is multinomial,
    so the resampled means are drawn as such, with a fixed seed: as `scipy.stats.bootstrap`, in
    milliseconds for 50,000 images. Where all images have the same value resampling shows nothing;
    up to as many images could differ as the exact binomial interval of none allows.
    """
    distinct, counts = np.unique(np.asarray(values, np.float64), return_counts=True)
    size = int(counts.sum())
    if len(distinct) == 1:
        unseen = stats.binomtest(0, size).proportion_ci(CONFIDENCE).high
        return Interval(float(distinct[0]) - unseen, float(distinct[0]) + unseen)
    draws = np.random.default_rng(0).multinomial(size, counts / size, RESAMPLES)
    means = draws @ distinct / size
    mean = float(counts @ distinct / size)
    below = (np.mean(means < mean) + np.mean(means <= mean)) / 2
    bias = stats.norm.ppf(below)
    centred = distinct - mean
    acceleration = (counts @ centred**3) / (6 * (counts @ centred**2) ** 1.5)
    ends = bias + stats.norm.ppf([(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    low, high = np.quantile(means, stats.norm.cdf(bias + ends / (1 - acceleration * ends)))
    return Interval(float(low), float(high))


def top1_summary(correct: Sequence[NDArray[np.bool_]]) -> dict[str, Any]:
    """`top1_pct`, the mean over seeds, with its interval: `top1_low_pct`, `top1_high_pct`, and what
    it is over, `interval_over`: "seeds" where there are several, else "images".

    correct: for each seed, (N,) of its images.
    """
    shares = [float(np.mean(right)) for right in correct]
    over = "seeds" if len(shares) > 1 else "images"
    found = over_seeds(shares) if over == "seeds" else over_images(correct[0])
    low, high = found.within(0.0, 1.0)
    return {
        "top1_pct": 100 * statistics.fmean(shares),
        "top1_low_pct": 100 * low,
        "top1_high_pct": 100 * high,
        "interval_over": over,
    }
