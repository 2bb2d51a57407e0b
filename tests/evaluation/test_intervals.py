"""Intervals of one row's accuracy, against SciPy's and against the truth they are to cover."""

import numpy as np
import pytest
from scipy import stats

from t2t.evaluation.intervals import over_images, over_seeds, top1_summary


def test_over_seeds_is_students_t():
    values = [0.97, 0.981, 0.9655]
    wanted = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert over_seeds(values) == pytest.approx((wanted.low, wanted.high))


@pytest.mark.parametrize(
    "counts", [{0: 36, 1: 324}, {0: 3, 1: 357}, {0: 80, 1: 20}, {-1: 4, 0: 80, 1: 16}]
)
def test_over_images_is_scipys_bootstrap(counts):
    """BCa of the mean; ends of either lie on a grid of 1 / N, and wander by a step of it."""
    values = np.repeat(list(counts), list(counts.values())).astype(float)
    drawn = stats.bootstrap(
        (values,), np.mean, vectorized=True, n_resamples=9999, rng=np.random.default_rng(3)
    )
    wanted = drawn.confidence_interval
    assert over_images(values) == pytest.approx((wanted.low, wanted.high), abs=1.01 / len(values))


@pytest.mark.parametrize("accuracy, images", [(0.8, 300), (0.97, 360)])
def test_over_images_covers_the_truth_as_often_as_it_says(accuracy, images):
    rng = np.random.default_rng(0)
    ends = [over_images(rng.random(images) < accuracy) for _ in range(400)]
    assert 0.92 < np.mean([low <= accuracy <= high for low, high in ends]) < 0.985


def test_the_same_images_give_the_same_interval():
    right = np.random.default_rng(0).random(200) < 0.9
    assert over_images(right) == over_images(right)


def test_no_wrong_image_does_not_mean_that_none_will_ever_be():
    """Of 360 right ones the exact interval begins where 0.025 is the chance of no mistake."""
    low, high = over_images(np.ones(360))
    assert low == pytest.approx(0.025 ** (1 / 360)) and high > 1


@pytest.mark.parametrize("count, over", [(1, "images"), (3, "seeds")])
def test_a_summary_says_what_its_interval_is_over(count, over):
    rng = np.random.default_rng(1)
    correct = [rng.random(500) < 0.9 for _ in range(count)]
    found = top1_summary(correct)
    shares = [100 * np.mean(right) for right in correct]
    assert found["top1_pct"] == pytest.approx(np.mean(shares))
    assert found["interval_over"] == over
    wanted = over_seeds(shares) if count > 1 else [100 * end for end in over_images(correct[0])]
    assert (found["top1_low_pct"], found["top1_high_pct"]) == pytest.approx(tuple(wanted))


def test_no_interval_leaves_0_to_100():
    found = top1_summary([np.ones(50, bool), np.arange(50) > 3])
    assert found["top1_high_pct"] == 100.0 and found["top1_low_pct"] >= 0
