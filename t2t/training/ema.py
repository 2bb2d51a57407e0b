"""Exponential moving average of the weights, two fused operations per step."""

import copy

import torch
from torch import nn


class AveragedModel:
    """A copy of `model` whose state follows it: average = decay * average + (1 - decay) * value.

    The whole state is followed, buffers too, as in the paper's training code; what is not
    floating point (counters) and frozen parameters are copied.
    """

    def __init__(self, model: nn.Module, decay: float):
        self.decay = decay
        self.module = copy.deepcopy(model).eval().requires_grad_(False)
        frozen = {name for name, value in model.named_parameters() if not value.requires_grad}
        averaged, followed, copies, originals = [], [], [], []
        live = model.state_dict(keep_vars=True)
        for name, average in self.module.state_dict(keep_vars=True).items():
            if average.is_floating_point() and name not in frozen:
                averaged.append(average.detach())
                followed.append(live[name].detach())
            else:
                copies.append(average.detach())
                originals.append(live[name].detach())
        self._averaged, self._followed = averaged, followed
        self._copies, self._originals = copies, originals

    @torch.no_grad()
    def update(self) -> None:
        """Takes one step towards the model's present state."""
        torch._foreach_lerp_(  # pyright: ignore[reportPrivateImportUsage]
            self._averaged, self._followed, 1 - self.decay
        )
        if self._copies:
            torch._foreach_copy_(  # pyright: ignore[reportPrivateImportUsage]
                self._copies, self._originals
            )
