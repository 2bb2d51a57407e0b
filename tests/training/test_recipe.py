"""Schedules against figures computed from the paper's training code."""

import dataclasses
import pickle

import pytest

from t2t.training.recipe import Recipe, RecipeError, averaging_decay, learning_rate
from tests.runs import SHORT

PAPER = dataclasses.replace(
    SHORT, epochs=300, cooldown_epochs=10, warmup_epochs=10, batch_size=512, lr=5e-4
)


def test_paper_schedule():
    assert PAPER.total_epochs == 310
    assert learning_rate(PAPER, 0) == pytest.approx(1e-6)
    assert learning_rate(PAPER, 10) == pytest.approx(4.987e-4, rel=1e-4)
    assert [learning_rate(PAPER, epoch) for epoch in range(300, 310)] == [1e-5] * 10


def test_warmup_rises_and_cosine_falls():
    rates = [learning_rate(PAPER, epoch) for epoch in range(310)]
    assert rates[:11] == sorted(rates[:11])
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert max(rates) < PAPER.lr


def test_averaging_decay_is_the_papers_for_its_run():
    horizon = dataclasses.replace(PAPER, ema_horizon=0.033)
    assert averaging_decay(horizon, 310 * 2502) == 0.99996


@pytest.mark.parametrize("steps", [10, 100, 1000, 100_000])
def test_averaging_forgets_the_initial_weights_in_a_run_of_any_length(steps):
    decay = averaging_decay(dataclasses.replace(PAPER, ema_horizon=0.033), steps)
    assert decay**steps < 1e-8


@pytest.mark.parametrize(
    "key, value",
    [
        ("lr", -1.0),
        ("lr", 0.0),
        ("lr", float("nan")),
        ("lr", float("inf")),
        ("min_lr", 1.0),
        ("epochs", 0),
        ("warmup_epochs", 3),
        ("cooldown_epochs", -1),
        ("batch_size", 0),
        ("weight_decay", -0.1),
        ("betas", (0.9, 1.0)),
        ("drop_path", 1.0),
        ("label_smoothing", float("nan")),
        ("mix_prob", 1.1),
        ("erase_prob", -0.1),
        ("ema_decay", 1.0),
        ("ema_horizon", 0.0),
        ("crop_scale", (0.5, 0.4)),
        ("crop_ratio", (0.0, 1.0)),
        ("shift_max", 1.0),
        ("momentum", 1.0),
        ("backbone_lr_factor", 0.0),
    ],
)
def test_out_of_range_names_the_key(key, value):
    with pytest.raises(RecipeError) as caught:
        dataclasses.replace(SHORT, **{key: value})
    assert caught.value.key == key
    assert str(value).split(",")[0].strip("(") in str(caught.value)


def test_an_error_travels_between_processes():
    error = RecipeError("lr", "must be greater than 0, got -1")
    copy = pickle.loads(pickle.dumps(error))
    assert (copy.key, copy.problem, str(copy)) == (error.key, error.problem, str(error))


def test_every_knob_has_a_meaning_in_the_docstring():
    for field in dataclasses.fields(Recipe):
        assert field.name in (Recipe.__doc__ or ""), field.name
