"""The types that the writing and the reading of data share."""

from typing import Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Pixels = NDArray[np.uint8]
WriteMode = Literal["raw", "jpg"]


class Split(Protocol):
    """An indexable set of labelled images; must pickle, for it is read in child processes."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> tuple[Image.Image, int]: ...


@runtime_checkable
class NamedSplit(Protocol):
    """What a split has besides where each image is a file: the file's name, for people."""

    def path_of(self, index: int, /) -> str: ...
