"""Arrays on their way to a GPU, without making the host wait for it."""

from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor


def to_device(values: NDArray[Any] | Tensor, device: torch.device) -> Tensor:
    """The values on `device`; to a GPU they go through pinned memory and are not waited for.

    An ordinary copy from pageable memory, or `torch.tensor(..., device=...)`, waits until all
    that the GPU was told before is done.
    """
    tensor = torch.as_tensor(values)
    if device.type != "cuda":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)
