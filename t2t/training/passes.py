"""How a batch is shared by the processes of a run, and taken in portions by each."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from t2t.data.mixing import parts
from t2t.errors import EnvironmentProblem
from t2t.training.environment import number_from
from t2t.training.ranks import Ranks

# What each of the paper's GPUs took. With fewer a step costs the host no less.
_LEAST_OF_A_RANK = 64
# The environment variable that says how many images a device takes at once; without it, all.
IMAGES_PER_PASS = "T2T_IMAGES_PER_PASS"


def most_ranks(batch_size: int) -> int:
    """How many processes are worth sharing a batch."""
    return max(1, batch_size // _LEAST_OF_A_RANK)


def most_at_once(images: int) -> int:
    """How many of `images` a device takes at once.

    Raises EnvironmentProblem where the variable holds no number of at least 2.
    """
    return min(images, number_from(IMAGES_PER_PASS, 2) or images)


def has_batch_norm(model: nn.Module) -> bool:
    """Whether what the model makes of an image depends on those beside it."""
    return any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in model.modules())


def passes_of(
    ranks: Ranks, batch_size: int, mix_group: int, *, by_groups: bool = False
) -> list[NDArray[np.int64]]:
    """This process's positions in a batch, in as many portions as its device needs.

    Images that are mixed with each other stay together. The machine decides how many portions
    there are, so that it is no part of a run's configuration: gradients are summed up, and but for
    rounding and the draws of dropout the step is the same. Portions are equal where they can be:
    a compiled network is compiled again for another number of images.

    by_groups: for networks with batch norms, whose statistics are those of a portion. It then has
        the `mix_group` images of one of the paper's GPUs, whatever the machine: exactly so where
        that many portions are a multiple of the processes and fit the device.

    Raises EnvironmentProblem where the variable holds no number of at least 2, ConfigError where
    the batch is too small to be shared so.
    """
    most = most_at_once(batch_size)
    least = -(-batch_size // (ranks.count * (min(most, mix_group) if by_groups else most)))
    equal = (n for n in range(least, 2 * least) if batch_size % (2 * ranks.count * n) == 0)
    portions = next(equal, least)
    shares = parts(batch_size, mix_group, ranks.count * portions)
    return shares[ranks.rank * portions : (ranks.rank + 1) * portions]


@contextmanager
def memory_explained(label: str, device: torch.device, images: int) -> Iterator[None]:
    """Too little memory for `images` at once, said with what helps.

    Raises EnvironmentProblem.
    """
    try:
        yield
    except torch.OutOfMemoryError:
        raise EnvironmentProblem(
            f"{label}: {device} has too little memory for {images} images at once; with "
            f"{IMAGES_PER_PASS}={max(2, images // 2)} in the environment it takes as many, and a "
            "batch stays what it is"
        ) from None
