"""Estimates with their intervals, and the difference of two rows paired over shared seeds."""

import math
import statistics
from collections.abc import Mapping
from dataclasses import dataclass

from scipy import stats

CONFIDENCE = 0.95
# What the brackets beside a figure are, by what they name (docs/decisions/011).
TOP1_INTERVAL = (
    f"{CONFIDENCE:.0%} interval: Student's t over seeds or, where images are named, a bootstrap "
    "over those of the one seed (exact binomial where none is wrong)"
)
DELTA_INTERVAL = (
    f"{CONFIDENCE:.0%} interval: over images, where there is one seed, Bonett and Price's; over "
    "seeds and images, Student's t over seeds with the images' part added in quadrature; where "
    "neither is named, Student's t over seeds alone"
)


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean in % of top-1, or a difference in points, with its 95% interval.

    The interval over seeds needs two of them. `over` says what varies in it: "seeds", "images" or
    "seeds and images"; `TOP1_INTERVAL` and `DELTA_INTERVAL` say how each is made.
    """

    mean_pct: float
    low_pct: float | None
    high_pct: float | None
    seeds: int
    over: str = "seeds"

    def reversed(self) -> "Estimate":
        """The difference seen from the other side."""
        low = None if self.high_pct is None else -self.high_pct
        high = None if self.low_pct is None else -self.low_pct
        return Estimate(-self.mean_pct, low, high, self.seeds, self.over)


def paired_delta(ours: Mapping[int, float], baseline: Mapping[int, float]) -> Estimate | None:
    """Compare top-1 in percent by seed, `ours` minus `baseline`, over the common seeds.

    The interval is Student's t at 95% over the paired differences; null for one seed.
    Returns null where the two share no seed.
    """
    differences = [ours[seed] - baseline[seed] for seed in sorted(ours.keys() & baseline.keys())]
    if not differences:
        return None
    mean, count = statistics.fmean(differences), len(differences)
    if count == 1:
        return Estimate(mean, None, None, 1)
    quantile = float(stats.t.ppf((1 + CONFIDENCE) / 2, count - 1))
    half = quantile * statistics.stdev(differences) / math.sqrt(count)
    return Estimate(mean, mean - half, mean + half, count)
