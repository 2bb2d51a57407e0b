"""Rank correlations, against SciPy's and by construction."""

import numpy as np
import pytest
from scipy.stats import bootstrap, spearmanr

from t2t.analysis.correlation import RESAMPLES, rank_correlation, ranks_within


def test_rho_is_spearmans_with_ties():
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=40), rng.integers(0, 4, 40)
    found = rank_correlation(x, y)
    assert found.rho == pytest.approx(spearmanr(x, y).statistic)
    assert found.low is not None and found.high is not None
    assert -1 <= found.low < found.rho < found.high <= 1 and found.heads == 40


def test_the_interval_is_scipys_percentile_bootstrap():
    x = np.random.default_rng(1).normal(size=30)
    y = x + np.random.default_rng(2).normal(size=30)
    found = rank_correlation(x, y)
    drawn = bootstrap(
        (x, y), lambda a, b: spearmanr(a, b).statistic, paired=True, vectorized=False,
        n_resamples=RESAMPLES, method="percentile",
    )  # fmt: skip
    wanted = drawn.confidence_interval
    assert (found.low, found.high) == pytest.approx((wanted.low, wanted.high), abs=0.05)


def test_a_resample_without_a_head_that_matters_is_left_out():
    """Some 56 of 2,000 resamples are so; SciPy's interval would be NaN."""
    found = rank_correlation(range(10), [0] * 7 + [1] * 3)
    assert found.low is not None and found.high is not None
    assert 0 < found.low <= found.rho <= found.high <= 1


def test_the_interval_covers_about_as_often_as_it_says():
    """Pairs of independent normals: the interval holds 0 nearly 95 times in 100."""
    rng = np.random.default_rng(0)
    intervals = [rank_correlation(*rng.normal(size=(2, 40))) for _ in range(100)]
    covered = sum(each.low < 0 < each.high for each in intervals)
    assert 88 <= covered <= 99


def test_equal_orders_correlate_fully_and_constants_not_at_all():
    assert rank_correlation([1, 2, 3, 4], [1, 4, 9, 16]).rho == pytest.approx(1)
    nothing = rank_correlation([1, 2, 3], [5, 5, 5])
    assert (nothing.rho, nothing.low, nothing.high, nothing.heads) == (None, None, None, 3)


def test_within_layers_what_sets_layers_apart_is_gone():
    """Similarity falls with importance in each layer; the later layer has more of both."""
    similarity, drop = [[1, 2, 3], [11, 12, 13]], [[3, 2, 1], [13, 12, 11]]
    whole = rank_correlation(np.ravel(similarity), np.ravel(drop))
    within = rank_correlation(ranks_within(similarity), ranks_within(drop))
    assert whole.rho is not None and whole.rho > 0.5
    assert within.rho == pytest.approx(-1)


def test_ranks_within_a_group_span_the_same_range_and_a_constant_is_0():
    ranks = ranks_within([[5, 7], [1, 2, 3, 4, 5], [8, 8, 8], [2]])
    assert ranks.tolist() == [-1, 1, -1, -0.5, 0, 0.5, 1, 0, 0, 0, 0]
