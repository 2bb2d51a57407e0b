"""A share of the training set."""

import numpy as np
import pytest

from t2t.data.subset import nested_subset

LABELS = np.random.default_rng(0).choice(5, 2000, p=[0.5, 0.3, 0.15, 0.049, 0.001])


def counts(rows) -> np.ndarray:
    return np.bincount(LABELS[rows], minlength=5)


@pytest.mark.parametrize("fraction", [0.01, 0.1, 0.25, 0.5, 1.0])
def test_it_is_stratified(fraction):
    rows = nested_subset(LABELS, fraction)
    expected = np.maximum(1, np.rint(fraction * np.bincount(LABELS))).astype(int)
    assert (counts(rows) == expected).all() and (np.diff(rows) > 0).all()
    if fraction == 1:
        assert len(rows) == 2000


def test_it_is_nested():
    sets = [set(nested_subset(LABELS, share).tolist()) for share in (0.003, 0.1, 0.25, 0.5, 1)]
    for small, large in zip(sets, sets[1:], strict=False):
        assert small < large


def test_it_is_spread_over_the_set():
    """Not the first images of each class, which a source may have sorted."""
    rows = nested_subset(np.zeros(10_000, np.int64), 0.1)
    assert 4700 < rows.mean() < 5300 and 60 < np.histogram(rows, 10)[0].min()
