"""The difference between two rows, paired over the seeds they share."""

import math
import statistics
from collections.abc import Mapping
from dataclasses import dataclass

from scipy import stats

CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class Delta:
    """Mean of per-seed differences in points of top-1; the interval needs two seeds."""

    mean_pct: float
    low_pct: float | None
    high_pct: float | None
    seeds: int


def paired_delta(ours: Mapping[int, float], baseline: Mapping[int, float]) -> Delta | None:
    """Compare top-1 in percent by seed, `ours` minus `baseline`, over the common seeds.

    The interval is Student's t at 95% over the paired differences; null for one seed.
    Returns null where the two share no seed.
    """
    differences = [ours[seed] - baseline[seed] for seed in sorted(ours.keys() & baseline.keys())]
    count = len(differences)
    if count == 0:
        return None
    mean = statistics.fmean(differences)
    if count == 1:
        return Delta(mean, None, None, 1)
    quantile = float(stats.t.ppf((1 + CONFIDENCE) / 2, count - 1))
    half = quantile * statistics.stdev(differences) / math.sqrt(count)
    return Delta(mean, mean - half, mean + half, count)
