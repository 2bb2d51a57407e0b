"""What the loop makes of the losses it gets."""

from types import SimpleNamespace

import pytest
import torch

from t2t.errors import Diverged
from t2t.training.checkpoint import save_checkpoint
from t2t.training.losses import LEAST_SCALE, SKIPS_IN_A_ROW, LossLog
from t2t.training.ranks import ALONE


def log(folder, scaled):
    scaler = torch.amp.GradScaler("cpu", enabled=scaled)
    state = SimpleNamespace(
        loss_sum=0.0, loss_steps=0, step=0, precision=SimpleNamespace(scaler=scaler)
    )
    return LossLog(state, ALONE, "row-seed0", folder)


def add(losses, *values):
    for value in values:
        losses.add(torch.tensor(float(value)))
        losses.state.step += 1


def test_the_mean_is_over_the_epoch_and_begins_anew(tmp_path):
    losses = log(tmp_path, scaled=False)
    add(losses, 1, 2)
    losses.collect(0.1)
    add(losses, 6)
    losses.collect(0.1)
    losses.collect(0.1)
    assert losses.mean() == 3 and len(losses) == 0
    losses.restart()
    add(losses, 5)
    losses.collect(0.1)
    assert losses.mean() == 5


@pytest.mark.parametrize("value", ["nan", "inf"])
def test_what_is_no_number_names_step_rate_and_the_last_checkpoint(tmp_path, value):
    path = save_checkpoint(tmp_path, 3, {"step": 3})
    losses = log(tmp_path, scaled=False)
    add(losses, 1, 1, value, 1)
    with pytest.raises(Diverged, match=rf"is {value} at step 2, learning rate 0\.5; .*{path.name}"):
        losses.collect(0.5)


def test_scaled_half_precision_may_skip_some_steps_in_a_row(tmp_path):
    losses = log(tmp_path, scaled=True)
    add(losses, 2, *["inf"] * SKIPS_IN_A_ROW, 4, *["nan"] * SKIPS_IN_A_ROW)
    losses.collect(0.1)
    assert losses.mean() == 3
    add(losses, "nan")
    with pytest.raises(Diverged, match=f"at step {2 + 2 * SKIPS_IN_A_ROW},"):
        losses.collect(0.1)


def test_gradients_that_never_become_numbers_end_the_run(tmp_path):
    """Their loss may be a number all the while."""
    losses = log(tmp_path, scaled=True)
    losses.state.precision.scaler = torch.amp.GradScaler("cpu", init_scale=LEAST_SCALE)
    add(losses, 1)
    losses.collect(0.1)
    losses.state.precision.scaler = torch.amp.GradScaler("cpu", init_scale=LEAST_SCALE / 2)
    add(losses, 1)
    with pytest.raises(
        Diverged, match=r"gradients are no numbers .* at step 2, learning rate 0\.1"
    ):
        losses.collect(0.1)
