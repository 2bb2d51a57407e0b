"""Splits that behave in the parent and fail in the writer's child process."""

import multiprocessing
import os
import signal
import time
from dataclasses import dataclass

import numpy as np
from PIL import Image


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
    """From its fifth image on the child is killed, sleeps, raises or sees other pixels."""

    how: str = ""

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        image, label = super().__getitem__(index)
        if not in_child() or index < 5:
            return image, label
        if self.how == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.how == "sleeps":
            time.sleep(60)
        if self.how == "raises":
            raise OSError("the disk is gone")
        return Image.fromarray(255 - np.asarray(image)), label
