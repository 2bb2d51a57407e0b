"""The types that the writing and the reading of data share."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Pixels = NDArray[np.uint8]


class Split(Protocol):
    """An indexable set of labelled images; must pickle, for it is read in a child process."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> tuple[Image.Image, int]: ...
