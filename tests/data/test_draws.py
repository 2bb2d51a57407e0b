"""Draws depend on their address alone."""

import numpy as np
import pytest

from t2t.data.draws import GOLDEN, Stream, generator, keys, mix64, permutation, uniforms


def test_mix64_gives_the_published_splitmix64_sequence():
    with np.errstate(over="ignore"):
        states = np.uint64(1234567) + np.arange(1, 4, dtype=np.uint64) * GOLDEN
    assert mix64(states).tolist() == [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
    ]


def test_a_sample_draws_the_same_in_any_company():
    together = uniforms(Stream.CROP, 7, 3, np.arange(100), 5)
    alone = np.concatenate([uniforms(Stream.CROP, 7, 3, [i], 5) for i in range(100)])
    assert (together == alone).all()
    assert (uniforms(Stream.CROP, 7, 3, np.arange(100), 2) == together[:, :2]).all()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ((Stream.CROP, 1, 0), (Stream.CROP, 0, 1)),
        ((Stream.CROP, 0, 0), (Stream.CROP, 0, 1)),
        ((Stream.CROP, 0, 0), (Stream.FLIP, 0, 0)),
        ((Stream.CROP, 0, 2), (Stream.FLIP, 0, 1)),
    ],
)
def test_seed_epoch_and_stream_share_no_key(one, other):
    indices = np.arange(10_000)
    assert not np.isin(keys(*one, indices), keys(*other, indices)).any()
    assert len(np.unique(keys(*one, indices))) == len(indices)


def test_uniforms_fill_the_unit_interval_evenly():
    numbers = uniforms(Stream.FLIP, 0, 0, np.arange(20_000), 4)
    assert numbers.min() >= 0 and numbers.max() < 1
    counts, _ = np.histogram(numbers, 20, (0, 1))
    expected = numbers.size / 20
    assert ((counts - expected) ** 2 / expected).sum() < 43.8  # chi-square, 19 d.o.f., p = 0.001
    correlation = np.corrcoef(numbers.T) - np.eye(4)
    assert np.abs(correlation).max() < 0.03


def test_permutation_is_one_and_changes_with_seed_and_epoch():
    orders = [tuple(permutation(seed, epoch, 500)) for seed in range(3) for epoch in range(3)]
    assert len(set(orders)) == 9
    assert all(sorted(order) == list(range(500)) for order in orders)
    assert permutation(0, 0, 500).tolist() == list(orders[0])


def test_generator_repeats_itself_and_differs_by_index():
    first = generator(Stream.MIX, 1, 2, 3).random(4)
    assert (first == generator(Stream.MIX, 1, 2, 3).random(4)).all()
    assert (first != generator(Stream.MIX, 1, 2, 4).random(4)).all()
