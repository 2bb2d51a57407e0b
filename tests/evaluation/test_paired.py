"""Differences between two rows on the same images and seeds."""

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from t2t.errors import DataError
from t2t.evaluation.paired import differences, over_both, over_paired_images, paired_difference
from t2t.evaluation.predictions import Predictions


def predictions(right, labels=None):
    """Of images of class 1 that are taken for it where `right`, else for class 0."""
    right = np.asarray(right, bool)
    labels = np.ones(len(right), np.int32) if labels is None else labels
    top = np.full((len(right), 5), -1, np.int32)
    top[:, 0] = np.where(right, labels, labels - 1)
    return Predictions(labels, top, np.ones(len(right), np.float32))


def test_the_difference_is_that_of_the_common_seeds():
    rng = np.random.default_rng(0)
    ours = {seed: predictions(rng.random(200) < 0.9) for seed in (0, 1, 2)}
    theirs = {seed: predictions(rng.random(200) < 0.8) for seed in (1, 2, 3)}
    found = paired_difference(ours, theirs)
    wanted = [100 * (ours[s].correct.mean() - theirs[s].correct.mean()) for s in (1, 2)]
    assert found.delta_pct == pytest.approx(np.mean(wanted))
    assert (found.seeds, found.images, found.over) == (2, 200, "seeds and images")
    assert found.mcnemar_p is None
    assert found.low_pct < found.delta_pct < found.high_pct


def test_one_seed_is_compared_over_images_alone():
    rng = np.random.default_rng(0)
    ours, theirs = (predictions(rng.random(100) < share) for share in (0.9, 0.7))
    found = paired_difference({0: ours}, {0: theirs, 1: theirs})
    better = int((ours.correct & ~theirs.correct).sum())
    worse = int((theirs.correct & ~ours.correct).sum())
    both = better + worse
    tail = sum(math.comb(both, k) for k in range(min(better, worse) + 1)) / 2**both
    assert found.mcnemar_p == pytest.approx(min(1, 2 * tail))
    assert (found.seeds, found.over) == (1, "images")


def test_rows_without_a_common_seed_have_no_difference():
    row = predictions([True, False])
    assert paired_difference({0: row}, {1: row}) is None
    assert paired_difference({}, {0: row}) is None


def test_other_images_are_refused_and_the_rows_named():
    ours = {0: predictions([True, True])}
    theirs = {0: predictions([True, True], np.array([1, 2], np.int32))}
    with pytest.raises(DataError, match="a and b: seed 0: the labels differ"):
        differences({"a": ours, "b": theirs}, {"a": "b"})
    with pytest.raises(DataError, match="not the same"):
        paired_difference(ours, {0: predictions([True])})


def test_rows_that_were_not_run_are_absent():
    row = {0: predictions([True, False, True])}
    found = differences({"a": row, "b": row}, {"a": "b", "b": None, "c": "a", "d": "c"})
    assert set(found) == {"a"} and found["a"]["baseline"] == "b"


def table_of_variance(values):
    """Variance components of a two-way table without replication, cell by cell."""
    seeds, images = values.shape
    mean = sum(values.flat) / values.size
    rows = [sum(values[s]) / images for s in range(seeds)]
    columns = [sum(values[:, i]) / seeds for i in range(images)]
    of_seeds = images * sum((row - mean) ** 2 for row in rows) / (seeds - 1)
    of_images = seeds * sum((column - mean) ** 2 for column in columns) / (images - 1)
    cells = itertools.product(range(seeds), range(images))
    rest = sum((values[s, i] - rows[s] - columns[i] + mean) ** 2 for s, i in cells)
    return mean, of_seeds, of_images, rest / ((seeds - 1) * (images - 1))


def test_the_interval_over_both_is_made_of_mean_squares():
    rng = np.random.default_rng(5)
    values = rng.integers(-1, 2, (3, 40)).astype(float) + rng.normal(0, 0.5, 40)
    mean, of_seeds, of_images, rest = table_of_variance(values)
    assert of_images > rest
    of_seeds_part = stats.t.ppf(0.975, 2) ** 2 * of_seeds / values.size
    of_images_part = stats.t.ppf(0.975, 39) ** 2 * (of_images - rest) / values.size
    half = math.sqrt(of_seeds_part + of_images_part)
    assert over_both(values) == pytest.approx((mean - half, mean + half))


def test_without_more_than_chance_in_images_it_is_students_over_seeds():
    values = np.array([[1, 0, 0, 1], [0, 1, 1, 1], [1, 1, 0, 1]], float)
    values -= values.mean(0)  # every image alike
    values += np.array([[0.1], [0.2], [0.4]])
    wanted = stats.ttest_1samp(values.mean(1), 0).confidence_interval(0.95)
    assert over_both(values) == pytest.approx((wanted.low, wanted.high))


def scored(rng, shape, level, seed_effect, difficulty):
    """Right or wrong of networks whose strength varies by seed, on images of varied difficulty."""
    strength = level + rng.normal(0, seed_effect, (shape[0], 1))
    return (strength + difficulty + rng.normal(0, 1, shape) > 0).astype(float)


@pytest.mark.parametrize("seeds, seed_effect", [(2, 0.1), (3, 0.0), (3, 0.3), (5, 0.3)])
def test_the_interval_over_both_covers_the_truth(seeds, seed_effect):
    """Whether the seeds differ or not: other seeds and other images could have been drawn."""
    rng, spread, covered = np.random.default_rng(1), 1.6, []
    for _ in range(600):
        difficulty = rng.normal(0, spread, 200)
        ours, theirs = (
            scored(rng, (seeds, 200), level, seed_effect, difficulty) for level in (2.6, 2.3)
        )
        low, high = over_both(ours - theirs)
        total = math.sqrt(1 + spread**2 + seed_effect**2)
        truth = stats.norm.cdf(2.6 / total) - stats.norm.cdf(2.3 / total)
        covered.append(low <= truth <= high)
    assert 0.92 < np.mean(covered) < 0.985


def trinomial(size, shares):
    """Every outcome of `size` images of three kinds, with its probability."""
    for better in range(size + 1):
        for worse in range(size + 1 - better):
            counts = (better, worse, size - better - worse)
            yield better, worse, stats.multinomial.pmf(counts, size, shares)


@pytest.mark.parametrize("better, worse", [(0.1, 0.05), (0.02, 0.02), (0.3, 0.1)])
def test_the_interval_over_paired_images_covers_the_truth(better, worse):
    """By enumeration of all that can happen to 30 images."""
    covered = 0.0
    for plus, minus, probability in trinomial(30, (better, worse, 1 - better - worse)):
        values = np.zeros(30)
        values[:plus], values[plus : plus + minus] = 1, -1
        low, high = over_paired_images(values)
        covered += probability * (low <= better - worse <= high)
    assert 0.94 < covered <= 1


def test_five_images_against_none_decide_nothing():
    low, high = over_paired_images(np.repeat([1.0, 0.0], [5, 355]))
    assert low < 0 < high
    assert stats.binomtest(5, 5).pvalue > 0.05
