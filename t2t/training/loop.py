"""The training loop of one run: from its newest checkpoint to its last step."""

import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from tqdm import tqdm

from t2t.data.loader import Batch
from t2t.errors import CheckpointError, ConfigError, Preempted
from t2t.training.checkpoint import load_checkpoint, save_checkpoint
from t2t.training.devices import device_name
from t2t.training.inputs import Inputs
from t2t.training.journal import Journal, restored_journal
from t2t.training.losses import LossLog
from t2t.training.objective import Objective
from t2t.training.optim import set_learning_rates
from t2t.training.passes import memory_explained, most_at_once
from t2t.training.ranks import Poll, Ranks
from t2t.training.recipe import Recipe, learning_rate
from t2t.training.record import JOURNAL
from t2t.training.step import TrainingState, reseed, train_step
from t2t.training.stopping import StopRequest
from t2t.training.validate import Score, validate

# How often the loss comes off the device, to be shown and to be looked at.
_LOG_EVERY_STEPS = 20
_LINES_PER_RUN = 4


@dataclass
class Fit:
    """One run under way in `folder`, in one process of `ranks`.

    `network` is the model's forward pass, compiled or shared as the devices ask. `passes` are this
    process's positions in a batch, in the portions that the device takes at once. `label` names
    the run in messages and on the progress bar. Before `run`, `resume` opens its journal.

    Raises ConfigError where there are fewer training images than a batch holds.
    """

    state: TrainingState
    network: nn.Module
    objective: Objective
    recipe: Recipe
    inputs: Inputs
    passes: list[NDArray[np.int64]]
    seed: int
    digest: str
    folder: Path
    label: str
    device: torch.device
    ranks: Ranks
    bar_line: int

    def __post_init__(self):
        self.journal: Journal | None = None
        self.losses = LossLog(self.state, self.ranks, self.label, self.folder)
        self.poll = Poll(self.ranks)
        self.top1_pct = math.nan
        self.steps_per_epoch = self.inputs.train.num_batches
        if self.steps_per_epoch == 0:
            raise ConfigError(
                f"batch_size {self.recipe.batch_size}: {self.label} has only "
                f"{self.inputs.train.num_samples} training images; make it smaller, or raise "
                "train_fraction"
            )

    def resume(self) -> None:
        """Continues from the newest sound checkpoint, where there is one, and opens the journal.

        Raises CheckpointError where all of them are damaged, or another run's; DataError for a
        damaged journal without any checkpoint.
        """
        stored = load_checkpoint(self.folder)
        if stored is not None:
            if stored["digest"] != self.digest:
                raise CheckpointError(
                    f"{self.folder}: the checkpoint is another run's; delete the folder"
                )
            self.state.load_state_dict(stored["state"])
        if self.ranks.is_first:
            path = self.folder / JOURNAL
            self.journal = (
                Journal(path) if stored is None else restored_journal(path, stored["journal"])
            )

    def run(self, stop: StopRequest) -> None:
        """Trains to the end. Raises Preempted, after saving, when any process is told to stop."""
        total_epochs = self.recipe.total_epochs
        first_epoch = self.state.step // self.steps_per_epoch
        with tqdm(
            total=total_epochs * self.steps_per_epoch,
            initial=self.state.step,
            desc=self.label,
            unit="step",
            mininterval=1.0,
            position=self.bar_line,
            disable=None if self.ranks.is_first else True,
        ) as bar:
            for epoch in range(first_epoch, total_epochs):
                self._run_epoch(epoch, stop, bar)

    def _run_epoch(self, epoch: int, stop: StopRequest, bar: tqdm) -> None:
        lr = learning_rate(self.recipe, epoch)
        set_learning_rates(self.state.optimizer, self.recipe, epoch)
        self.state.model.train()
        began, done, stopping = time.perf_counter(), 0, False
        start = self.state.step % self.steps_per_epoch
        part = np.concatenate(self.passes)
        for batch in self.inputs.train.epoch(epoch, start, part):
            self.poll.ask(bool(stop))
            self._step(epoch, batch)
            stopping = self.poll.anyone(bool(stop))
            done += 1
            bar.update()
            if len(self.losses) == _LOG_EVERY_STEPS or stopping:
                self.losses.collect(lr)
                self._show(bar, done / (time.perf_counter() - began))
            if stopping and self.state.step % self.steps_per_epoch:
                self._check_weights(lr)
                self._save()
                self._leave(stop)
        self.losses.collect(lr)
        self._end_epoch(epoch, lr, done / (time.perf_counter() - began), bar)
        if stopping and epoch + 1 < self.recipe.total_epochs:
            self._leave(stop)

    def _step(self, epoch: int, batch: Batch) -> None:
        step = self.state.step % self.steps_per_epoch
        reseed(self.seed, self.state.step, self.ranks.rank)

        def prepared(portion: Batch) -> tuple[torch.Tensor, torch.Tensor]:
            return self.inputs.preparation(
                portion, seed=self.seed, epoch=epoch, step=step, device=self.device
            )

        most = max(len(positions) for positions in self.passes)
        with memory_explained(self.label, self.device, most):
            loss = train_step(
                self.state,
                self.network,
                self.objective,
                self._portions(batch),
                prepared,
                batch_size=self.recipe.batch_size,
                processes=self.ranks.count,
            )
        self.losses.add(loss)

    def _portions(self, batch: Batch) -> list[Batch]:
        ends = np.cumsum([len(positions) for positions in self.passes])
        starts = [0, *ends[:-1]]
        return [
            Batch(*(values[start:end] for values in batch))
            for start, end in zip(starts, ends, strict=True)
        ]

    def _check_weights(self, lr: float) -> None:
        if not self.state.is_sound():
            raise self.losses.diverged("the weights are no numbers", self.state.step, lr)

    def _leave(self, stop: StopRequest) -> None:
        by = stop.signal_name or "another of its processes"
        raise Preempted(
            f"{self.label}: stopped by {by} at step {self.state.step}, which is "
            "saved; run it again to continue"
        )

    def _show(self, bar: tqdm, steps_per_s: float) -> None:
        bar.set_postfix_str(
            f"loss {self.losses.mean():.3f}, top-1 {self.top1_pct:.1f} %, "
            f"{steps_per_s * self.recipe.batch_size:,.0f} images/s"
        )

    def _end_epoch(self, epoch: int, lr: float, steps_per_s: float, bar: tqdm) -> None:
        average, raw = (
            self._score(model) for model in (self.state.average.module, self.state.model)
        )
        self._check_weights(lr)
        if not math.isfinite(raw.loss):
            found = f"the validation loss is {raw.loss}"
            raise self.losses.diverged(found, self.state.step, lr)
        metrics: dict[str, Any] = {
            "epoch": epoch,
            "lr": lr,
            "train_loss": self.losses.mean(),
            "val_loss": average.loss,
            "val_top1_pct": average.top1_pct,
            "val_top1_raw_pct": raw.top1_pct,
        }
        images_per_s = steps_per_s * self.recipe.batch_size
        if self.journal is not None:
            timing = {"images_per_s": images_per_s}
            self.journal.append(
                "epoch",
                self.state.step,
                metrics=metrics,
                timing=timing,
                device=device_name(self.device),
                processes=self.ranks.count,
            )
        self.losses.restart()
        self._save()
        self.top1_pct = average.top1_pct
        last = epoch + 1 == self.recipe.total_epochs
        due = (epoch + 1) % max(1, self.recipe.total_epochs // _LINES_PER_RUN) == 0
        if self.ranks.is_first and (last or due):
            bar.write(
                f"{self.label}: epoch {epoch + 1} of {self.recipe.total_epochs}, "
                f"loss {metrics['train_loss']:.3f}, top-1 {average.top1_pct:.2f} % "
                f"(raw {raw.top1_pct:.2f} %), {images_per_s:,.0f} images/s"
            )

    def _score(self, model: nn.Module) -> Score:
        """In the precision of training, as it comes every epoch; evaluation is in float32."""
        preparation = self.inputs.preparation
        self.ranks.agree_on_buffers(model)
        most = most_at_once(self.inputs.val.batch_size // self.ranks.count)
        with (
            memory_explained(self.label, self.device, most),
            self.state.precision.autocast(),
        ):
            return validate(
                model, self.inputs.val, self.device, preparation.mean, preparation.std, self.ranks
            )

    def _save(self) -> None:
        """Every process waits for the first, whose state is everyone's."""
        if self.journal is not None:
            self.journal.sync()
            content = {
                "digest": self.digest,
                "state": self.state.state_dict(),
                "journal": self.journal.text,
            }
            save_checkpoint(self.folder, self.state.step, content)
        self.ranks.barrier()
