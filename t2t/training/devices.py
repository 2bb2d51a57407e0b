"""Where a run takes place, and what is done to a network for the sake of its device."""

import copy
import os
import platform
import re
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from t2t.errors import EnvironmentProblem
from t2t.training.step import TrainingState

_CPU_MODEL = re.compile(r"^model name\s*:\s*(.+)$", re.MULTILINE)


@dataclass(frozen=True)
class Place:
    """The devices of one of several runs side by side: `processes` of them from number
    `slot` * `processes` on."""

    slot: int = 0
    processes: int = 1

    def device(self) -> torch.device:
        """This process's own device: a GPU where there are any.

        Convolutions in float32 are computed so from then on: torch's default on GPUs, TF32, keeps
        10 bits of what autocast is kept away from for the sake of its precision.
        Raises EnvironmentProblem where there are fewer GPUs than were asked for.
        """
        if not torch.cuda.is_available():
            return torch.device("cpu")
        own = int(os.environ.get("LOCAL_RANK", "0")) if self.processes > 1 else 0
        index, there = self.slot * self.processes + own, torch.cuda.device_count()
        if index >= there:
            raise EnvironmentProblem(
                f"GPU {index} is asked for, but there are {there}: make T2T_PROCESSES "
                f"({self.processes} of each run here) or T2T_SLOTS smaller"
            )
        device = torch.device("cuda", index)
        torch.cuda.set_device(device)
        torch.backends.cudnn.allow_tf32 = False
        return device


# A run that has the first device, or the CPU, to itself.
FIRST_PLACE = Place()


def on_device(model: nn.Module, device: torch.device) -> nn.Module:
    """`model` where it is to work: on GPUs kernels of convolutions have their channels last, as
    their units want them."""
    if device.type != "cuda":
        return model.to(device)
    return model.to(device).to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]


def compiled(model: nn.Module, device: torch.device) -> nn.Module:
    """The forward pass of `model`, compiled on a GPU; a CPU gains less than compiling costs."""
    return torch.compile(model) if device.type == "cuda" else model  # pyright: ignore[reportReturnType]


def settle_buckets(
    network: nn.Module, state: TrainingState, shape: tuple[int, ...], device: torch.device
) -> None:
    """Makes a shared network add gradients in its final order from the first step on.

    DistributedDataParallel regroups gradients after its first backward pass, so that the first step
    after a resume would sum in another order than the same step of an undisturbed run. Two passes
    over black images are made and forgotten.

    shape: (B, 3, H, W) of a step's first pass. A compiled network would be compiled again for
        another number of images.
    """
    before = copy.deepcopy(state.model.state_dict())
    state.model.train()
    for _ in range(2):
        images = torch.zeros(shape, device=device)
        with state.precision.autocast():
            network(images).float().sum().backward()
        state.optimizer.zero_grad(set_to_none=True)
    state.model.load_state_dict(before)


def device_name(device: torch.device) -> str:
    """What `device` is sold as, as far as it says."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    facts = Path("/proc/cpuinfo")
    named = _CPU_MODEL.search(facts.read_text()) if facts.is_file() else None
    return named.group(1) if named else platform.processor() or platform.machine()
