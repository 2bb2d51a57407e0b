"""One optimiser step, and what a run carries from one step to the next."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from t2t.data.augment import ErasePolicy, draw_erasing, erase, normalize
from t2t.data.loader import Batch
from t2t.data.mixing import MixPolicy, mix_images, plan_mix, soft_targets
from t2t.data.randaugment import Fill, RandAugmentPolicy, draw_ops
from t2t.data.randaugment_batched import augment_batch
from t2t.data.transfer import to_device
from t2t.training.ema import AveragedModel
from t2t.training.objective import Objective


@dataclass
class Precision:
    """Arithmetic of the forward pass: bfloat16 where the GPU itself has it, else scaled float16; a
    CPU computes in float32 (bfloat16 is slower there)."""

    device: torch.device

    def __post_init__(self):
        cuda = self.device.type == "cuda"
        bfloat16 = cuda and torch.cuda.is_bf16_supported(including_emulation=False)
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
    loss_steps: int = 0

    def is_sound(self) -> bool:
        """Whether every weight is a number; a step's loss says nothing of those that it leaves."""
        weights = [parameter.detach() for parameter in self.model.parameters()]
        return bool(torch.nn.utils.get_total_norm(weights, norm_type=torch.inf).isfinite())

    def state_dict(self) -> dict[str, Any]:
        """Tensors and plain values only, so that it can be read without unpickling code."""
        return {
            "model": self.model.state_dict(),
            "average": self.average.module.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.precision.scaler.state_dict(),
            "step": self.step,
            "loss_sum": self.loss_sum,
            "loss_steps": self.loss_steps,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continues from what `state_dict` gave, on a device of whatever precision."""
        self.model.load_state_dict(state["model"])
        self.average.module.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        if state["scaler"]:  # empty where nothing was scaled
            self.precision.scaler.load_state_dict(state["scaler"])
        self.step = state["step"]
        self.loss_sum, self.loss_steps = state["loss_sum"], state["loss_steps"]


def reseed(seed: int, step: int, rank: int = 0) -> None:
    """Makes dropout and drop-path of a step depend on (seed, step, rank) alone.

    So no generator's state has to be saved, and a resumed run draws what an undisturbed one drew.
    """
    words = np.random.SeedSequence([seed, step, rank]).generate_state(1, np.uint64)
    torch.manual_seed(int(words[0]) >> 1)


@dataclass(frozen=True)
class Preparation:
    """Turns a loaded batch into what the network sees, in the order of the paper's code:
    RandAugment, mixing on uint8, normalisation, erasing.

    rand_augment: None for none. On a CPU the loader has done it, image by image with Pillow, which
        is faster there; elsewhere it is done here, over the batch, with the same pixels.
    fill: grey levels of the colour that RandAugment uncovers.
    batch_size: images of the whole batch, over all processes and accumulation steps.
    mean, std: per channel, for values in 0..1.

    There is no colour jitter: the paper's code is given a strength of 0.4 and ignores it wherever
    RandAugment is on.
    """

    rand_augment: RandAugmentPolicy | None
    fill: Fill
    mix: MixPolicy
    erasing: ErasePolicy
    label_smoothing: float
    num_classes: int
    batch_size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __call__(
        self, batch: Batch, *, seed: int, epoch: int, step: int, device: torch.device
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Images (B, 3, H, W) float32 and soft targets (B, num_classes), on `device`.

        step: counted from the epoch's first. A part of the whole batch will do, if it holds both
        images of each pair that is mixed; ConfigError otherwise.
        """
        images, labels = to_device(batch.images, device), to_device(batch.labels, device)
        where = {"seed": seed, "epoch": epoch, "indices": batch.indices.numpy()}
        size = {"height_px": images.shape[-2], "width_px": images.shape[-1]}
        if self.rand_augment is not None and device.type != "cpu":
            images = augment_batch(images, draw_ops(self.rand_augment, **where), self.fill)
        plan = plan_mix(
            self.mix,
            seed=seed,
            epoch=epoch,
            step=step,
            positions=batch.positions.numpy(),
            batch_size=self.batch_size,
            **size,
        )
        targets = soft_targets(labels, plan, self.num_classes, self.label_smoothing)
        images = normalize(mix_images(images, plan), self.mean, self.std)
        boxes = draw_erasing(self.erasing, **where, **size)
        return erase(images, boxes, **where), targets


def train_step(
    state: TrainingState,
    network: nn.Module,
    objective: Objective,
    passes: Sequence[Batch],
    prepare: Callable[[Batch], tuple[torch.Tensor, torch.Tensor]],
    *,
    batch_size: int,
    processes: int = 1,
) -> torch.Tensor:
    """A step of the optimiser and one of the average; returns this process's share of the mean
    loss.

    network: `state.model`, or what shares its parameters for the forward pass.
    passes: this process's images of the batch, as many at once as the device holds; together with
        those of all `processes` they are `batch_size`. Their gradients are added up.
    """
    scaler = state.precision.scaler
    state.optimizer.zero_grad(set_to_none=True)
    shares = []
    for number, batch in enumerate(passes, 1):
        images, targets = prepare(batch)
        with _added_up(network, waits=number < len(passes)):
            with state.precision.autocast():
                loss = objective(network, images, targets) / batch_size
            # Gradients are averaged over the processes, and here they are to be summed.
            scaler.scale(loss * processes).backward()
        shares.append(loss.detach())
    scaler.step(state.optimizer)
    scaler.update()
    state.average.update()
    state.step += 1
    return torch.stack(shares).sum()


def _added_up(network: nn.Module, waits: bool) -> AbstractContextManager[None]:
    """Gradients of all but the last pass stay with this process."""
    if waits and isinstance(network, DistributedDataParallel):
        return network.no_sync()
    return nullcontext()
