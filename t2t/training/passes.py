"""How a batch is shared by the processes of a run, and taken in portions by each."""

import os

import numpy as np
from numpy.typing import NDArray

from t2t.data.mixing import parts
from t2t.errors import EnvironmentProblem
from t2t.training.ranks import Ranks

# The environment variable that says how many images a device takes at once; without it, all.
IMAGES_PER_PASS = "T2T_IMAGES_PER_PASS"


def passes_of(ranks: Ranks, batch_size: int, mix_group: int) -> list[NDArray[np.int64]]:
    """This process's positions in a batch, in as many portions as its device needs.

    Images that are mixed with each other stay together. The machine decides how many portions
    there are, so that it is no part of a run's configuration: gradients are summed up, and but for
    rounding and the draws of dropout the step is the same.

    Raises EnvironmentProblem where the variable holds no number of at least 2, ConfigError where
    the batch is too small to be shared so.
    """
    portions = -(-batch_size // (ranks.count * _most_at_once(batch_size)))
    shares = parts(batch_size, mix_group, ranks.count * portions)
    return shares[ranks.rank * portions : (ranks.rank + 1) * portions]


def _most_at_once(batch_size: int) -> int:
    told = os.environ.get(IMAGES_PER_PASS, "")
    if not told:
        return batch_size
    if not told.isdecimal() or int(told) < 2:
        raise EnvironmentProblem(f"{IMAGES_PER_PASS} must be a number of at least 2, not {told!r}")
    return int(told)
