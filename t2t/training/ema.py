"""Exponential moving average of the weights, one fused operation per step."""

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
        averaged, followed, copied = [], [], []
        live = model.state_dict(keep_vars=True)
        for name, average in self.module.state_dict(keep_vars=True).items():
            if average.is_floating_point() and name not in frozen:
                averaged.append(average.detach())
                followed.append(live[name].detach())
            else:
                copied.append((average.detach(), live[name].detach()))
        self._averaged, self._followed, self._copied = averaged, followed, copied

    @torch.no_grad()
    def update(self) -> None:
        """Takes one step towards the model's present state."""
        torch._foreach_lerp_(  # pyright: ignore[reportPrivateImportUsage]
            self._averaged, self._followed, 1 - self.decay
        )
        for average, value in self._copied:
            average.copy_(value)
