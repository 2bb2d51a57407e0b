"""The losses of a run: left on the device step by step, looked at now and then."""

import math
from pathlib import Path

import torch

from t2t.errors import Diverged
from t2t.training.checkpoint import newest_checkpoint
from t2t.training.ranks import Ranks
from t2t.training.step import TrainingState

# Steps in a row that scaled float16 may skip, halving its scale each time.
SKIPS_IN_A_ROW = 20
# Gradients that overflow at a smaller scale than this (it begins at 2^16) are not too large but
# no numbers: the optimiser skips every step, whatever the loss is.
LEAST_SCALE = 2.0**-10


class LossLog:
    """Adds each step's loss to the epoch's sum in `state`, some steps late.

    `folder` is where the run keeps its checkpoints, `label` its name.
    """

    def __init__(self, state: TrainingState, ranks: Ranks, label: str, folder: Path):
        self.state, self.ranks, self.label, self.folder = state, ranks, label, folder
        self._waiting: list[torch.Tensor] = []
        self._skipped = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, loss: torch.Tensor) -> None:
        """This process's share of the loss of the step just made; stays on the device."""
        self._waiting.append(loss)

    def collect(self, lr: float) -> None:
        """Takes the waiting losses off the device.

        Raises Diverged for one that is no number; under scaled float16 the optimiser has skipped
        that step, and only SKIPS_IN_A_ROW of them are an error, or a scale below LEAST_SCALE.
        """
        if not self._waiting:
            return
        losses = self.ranks.summed(torch.stack(self._waiting)).tolist()
        self._waiting.clear()
        for number, loss in enumerate(losses):
            if math.isfinite(loss):
                self._skipped = 0
                self.state.loss_sum += loss
                self.state.loss_steps += 1
                continue
            self._skipped += 1
            if self._skipped > SKIPS_IN_A_ROW * self.state.precision.scaler.is_enabled():
                step = self.state.step - len(losses) + number
                raise self.diverged(f"the loss is {loss}", step, lr)
        scale = self.state.precision.scaler.get_scale()
        if scale < LEAST_SCALE:
            found = f"the gradients are no numbers (their scale has fallen to {scale:.3g})"
            raise self.diverged(found, self.state.step, lr)

    def mean(self) -> float:
        """Mean loss of the epoch so far."""
        return self.state.loss_sum / max(1, self.state.loss_steps)

    def restart(self) -> None:
        """Begins the next epoch's mean."""
        self.state.loss_sum, self.state.loss_steps = 0.0, 0

    def diverged(self, what: str, step: int, lr: float) -> Diverged:
        """The error that says `what` was found at `step` and which checkpoint is there still."""
        good = newest_checkpoint(self.folder)
        kept = f"the last good checkpoint is {good}" if good else "no checkpoint was saved before"
        return Diverged(f"{self.label}: {what} at step {step}, learning rate {lr:.3g}; {kept}")
