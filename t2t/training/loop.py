"""The training loop of one run: from its newest checkpoint to its last step."""

import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from t2t.data.loader import ShardLoader
from t2t.errors import CheckpointError, Preempted, T2TError
from t2t.training.checkpoint import load_checkpoint, save_checkpoint
from t2t.training.journal import Journal
from t2t.training.optim import set_learning_rate
from t2t.training.recipe import Recipe, learning_rate
from t2t.training.record import JOURNAL
from t2t.training.step import Preparation, TrainingState, reseed, train_step
from t2t.training.stopping import StopRequest
from t2t.training.validate import validate

# How often the loss comes off the device, to be shown and to be looked at.
_LOG_EVERY_STEPS = 20
_LINES_PER_RUN = 4


class Diverged(T2TError):
    """The loss is not a number any more."""


@dataclass(frozen=True)
class Inputs:
    """The data of a run, and what is done to a training batch."""

    train: ShardLoader
    val: ShardLoader
    preparation: Preparation


@dataclass
class Fit:
    """One run under way in `folder`. `label` names it in messages and on the progress bar."""

    state: TrainingState
    recipe: Recipe
    inputs: Inputs
    seed: int
    digest: str
    folder: Path
    label: str
    device: torch.device
    bar_line: int

    def __post_init__(self):
        self.journal = Journal(self.folder / JOURNAL)
        self.top1_pct = math.nan
        self.steps_per_epoch = self.inputs.train.num_batches

    def resume(self) -> None:
        """Continues from the newest sound checkpoint, where there is one."""
        stored = load_checkpoint(self.folder)
        if stored is None:
            return
        if stored["digest"] != self.digest:
            raise CheckpointError(
                f"{self.folder}: the checkpoint is another run's; delete the folder"
            )
        self.state.load_state_dict(stored["state"])

    def run(self, stop: StopRequest) -> None:
        """Trains to the end. Raises Preempted, after saving, when `stop` is set."""
        total_epochs = self.recipe.total_epochs
        first_epoch = self.state.step // self.steps_per_epoch
        with tqdm(
            total=total_epochs * self.steps_per_epoch,
            initial=self.state.step,
            desc=self.label,
            unit="step",
            mininterval=1.0,
            position=self.bar_line,
            disable=None,
        ) as bar:
            for epoch in range(first_epoch, total_epochs):
                self._run_epoch(epoch, stop, bar)

    def _run_epoch(self, epoch: int, stop: StopRequest, bar: tqdm) -> None:
        lr = learning_rate(self.recipe, epoch)
        set_learning_rate(self.state.optimizer, lr)
        self.state.model.train()
        began, images = time.perf_counter(), 0
        recent: list[torch.Tensor] = []
        for batch in self.inputs.train.epoch(epoch, self.state.step % self.steps_per_epoch):
            reseed(self.seed, self.state.step)
            pixels, targets = self.inputs.preparation(
                batch,
                seed=self.seed,
                epoch=epoch,
                step=self.state.step % self.steps_per_epoch,
                device=self.device,
            )
            recent.append(train_step(self.state, pixels, targets))
            images += len(batch.labels)
            bar.update()
            if len(recent) == _LOG_EVERY_STEPS or stop:
                self._collect(recent, lr)
                self._show(bar, images / (time.perf_counter() - began))
            if stop and self.state.step % self.steps_per_epoch:
                self._save()
                self._leave(stop)
        self._collect(recent, lr)
        self._end_epoch(epoch, lr, images / (time.perf_counter() - began), bar)
        if stop and epoch + 1 < self.recipe.total_epochs:
            self._leave(stop)

    def _leave(self, stop: StopRequest) -> None:
        raise Preempted(
            f"{self.label}: stopped by {stop.signal_name} at step {self.state.step}, which is "
            "saved; run it again to continue"
        )

    def _show(self, bar: tqdm, images_per_s: float) -> None:
        bar.set_postfix_str(
            f"loss {self._mean_loss():.3f}, top-1 {self.top1_pct:.1f} %, "
            f"{images_per_s:,.0f} images/s"
        )

    def _collect(self, recent: list[torch.Tensor], lr: float) -> None:
        """Takes the losses off the device into the epoch's sum."""
        for loss in torch.stack(recent).tolist() if recent else []:
            if not math.isfinite(loss):
                raise Diverged(
                    f"{self.label}: the loss is {loss} near step {self.state.step} at a learning "
                    f"rate of {lr:.3g}; the last good checkpoint is in {self.folder}"
                )
            self.state.loss_sum += loss
        recent.clear()

    def _mean_loss(self) -> float:
        steps = (self.state.step - 1) % self.steps_per_epoch + 1
        return self.state.loss_sum / steps

    def _end_epoch(self, epoch: int, lr: float, images_per_s: float, bar: tqdm) -> None:
        preparation = self.inputs.preparation
        average, raw = (
            validate(model, self.inputs.val, self.device, preparation.mean, preparation.std)
            for model in (self.state.average.module, self.state.model)
        )
        metrics: dict[str, Any] = {
            "epoch": epoch,
            "lr": lr,
            "train_loss": self._mean_loss(),
            "val_loss": average.loss,
            "val_top1_pct": average.top1_pct,
            "val_top1_raw_pct": raw.top1_pct,
        }
        timing = {"images_per_s": images_per_s}
        self.journal.append("epoch", self.state.step, metrics=metrics, timing=timing)
        self.state.loss_sum = 0.0
        self._save()
        self.top1_pct = average.top1_pct
        last = epoch + 1 == self.recipe.total_epochs
        if last or (epoch + 1) % max(1, self.recipe.total_epochs // _LINES_PER_RUN) == 0:
            bar.write(
                f"{self.label}: epoch {epoch + 1} of {self.recipe.total_epochs}, "
                f"loss {metrics['train_loss']:.3f}, top-1 {average.top1_pct:.2f} % "
                f"(raw {raw.top1_pct:.2f} %), {images_per_s:,.0f} images/s"
            )

    def _save(self) -> None:
        self.journal.sync()
        content = {"digest": self.digest, "state": self.state.state_dict()}
        save_checkpoint(self.folder, self.state.step, content)
