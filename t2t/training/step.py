"""One optimiser step, and what a run carries from one step to the next."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from t2t.data.augment import ErasePolicy, draw_erasing, erase, normalize
from t2t.data.loader import Batch
from t2t.data.mixing import MixPolicy, draw_mix, mix_images, soft_targets
from t2t.training.ema import AveragedModel


@dataclass
class Precision:
    """Arithmetic of the forward pass: bfloat16 where the GPU has it, else scaled float16; a CPU
    computes in float32 (bfloat16 is slower there)."""

    device: torch.device

    def __post_init__(self):
        cuda = self.device.type == "cuda"
        bfloat16 = cuda and torch.cuda.is_bf16_supported()
        self._enabled = cuda
        self._dtype = torch.bfloat16 if bfloat16 else torch.float16
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=cuda and not bfloat16)

    def autocast(self) -> torch.autocast:
        """The context in which the forward pass runs."""
        return torch.autocast(self.device.type, self._dtype, enabled=self._enabled)


@dataclass
class TrainingState:
    """Everything that a later step depends on, but for the seed and the data."""

    model: nn.Module
    average: AveragedModel
    optimizer: torch.optim.Optimizer
    precision: Precision
    step: int = 0
    loss_sum: float = 0.0

    def state_dict(self) -> dict[str, Any]:
        """Tensors and plain values only, so that it can be read without unpickling code."""
        return {
            "model": self.model.state_dict(),
            "average": self.average.module.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.precision.scaler.state_dict(),
            "step": self.step,
            "loss_sum": self.loss_sum,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continues from what `state_dict` gave."""
        self.model.load_state_dict(state["model"])
        self.average.module.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.precision.scaler.load_state_dict(state["scaler"])
        self.step, self.loss_sum = state["step"], state["loss_sum"]


def reseed(seed: int, step: int, rank: int = 0) -> None:
    """Makes dropout and drop-path of a step depend on (seed, step, rank) alone.

    So no generator's state has to be saved, and a resumed run draws what an undisturbed one drew.
    """
    words = np.random.SeedSequence([seed, step, rank]).generate_state(1, np.uint64)
    torch.manual_seed(int(words[0]) >> 1)


@dataclass(frozen=True)
class Preparation:
    """Turns a loaded batch into what the network sees, in the order of the paper's code:
    mixing on uint8, normalisation, erasing. mean, std: per channel, for values in 0..1."""

    mix: MixPolicy
    erasing: ErasePolicy
    label_smoothing: float
    num_classes: int
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __call__(
        self, batch: Batch, *, seed: int, epoch: int, step: int, device: torch.device
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Images (B, 3, H, W) float32 and soft targets (B, num_classes), on `device`.

        step: counted from the epoch's first.
        """
        images = batch.images.to(device, non_blocking=True)
        labels = batch.labels.to(device, non_blocking=True)
        size = {"height_px": images.shape[-2], "width_px": images.shape[-1]}
        draw = draw_mix(self.mix, seed=seed, epoch=epoch, step=step, **size)
        targets = soft_targets(labels, self.num_classes, self.label_smoothing, draw)
        images = normalize(mix_images(images, draw), self.mean, self.std)
        if self.erasing.prob == 0:
            return images, targets
        where = {"seed": seed, "epoch": epoch, "indices": batch.indices.numpy()}
        return erase(images, draw_erasing(self.erasing, **where, **size), **where), targets


def train_step(
    state: TrainingState,
    images: torch.Tensor,
    targets: torch.Tensor,
) -> torch.Tensor:
    """One AdamW step and one step of the average; returns the batch's mean loss on the device.

    images: (B, 3, H, W) float32; targets: (B, classes), rows summing to 1.
    """
    scaler = state.precision.scaler
    state.optimizer.zero_grad(set_to_none=True)
    with state.precision.autocast():
        logits = state.model(images)
        loss = nn.functional.cross_entropy(logits.float(), targets)
    scaler.scale(loss).backward()
    scaler.step(state.optimizer)
    scaler.update()
    state.average.update()
    state.step += 1
    return loss.detach()
