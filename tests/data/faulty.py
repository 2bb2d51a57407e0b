"""Splits that behave in the parent and fail in the worker that encodes them."""

import multiprocessing
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError


def in_child() -> bool:
    return multiprocessing.parent_process() is not None


@dataclass
class Steady:
    """Random images, two classes in turn; `size` is the side in pixels."""

    count: int = 40
    size: int = 16

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        rng = np.random.default_rng(index)
        pixels = rng.integers(0, 256, (self.size, self.size, 3), dtype=np.uint8)
        return Image.fromarray(pixels), index % 2


@dataclass
class FailsInChild(Steady):
    """From its fifth image on the child is killed, sleeps or raises."""

    how: str = ""

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        if in_child() and index >= 5:
            if self.how == "killed":
                os.kill(os.getpid(), signal.SIGKILL)
            if self.how == "sleeps":
                time.sleep(60)
            if self.how == "raises":
                raise OSError("the disk is gone")
        return super().__getitem__(index)


@dataclass
class AllBad(Steady):
    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        raise UnidentifiedImageError(f"cannot identify {index}")


@dataclass
class Mislabelled(Steady):
    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        return super().__getitem__(index)[0], (0, 1, 7)[index % 3]


@dataclass
class Counted(Steady):
    """Leaves a file in `folder` for each image that is asked for, and takes its time."""

    folder: Path = Path()

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        (self.folder / f"{index}-{os.getpid()}").touch()
        time.sleep(0.001)
        return super().__getitem__(index)
