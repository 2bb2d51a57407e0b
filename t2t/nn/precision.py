"""Where autocast must not reach: kernels and statistics that half precision would ruin."""

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor


def widen(x: Tensor) -> Tensor:
    """`x` in float32, or in float64 where it already is."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def without_autocast(x: Tensor) -> AbstractContextManager[object]:
    """A context in which operations on the device of `x` keep the dtype of their operands."""
    if x.is_meta:  # autocast knows no meta device, and nothing is computed there
        return nullcontext()
    return torch.autocast(x.device.type, enabled=False)
