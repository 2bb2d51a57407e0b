"""How far a long piece of work has come."""

import time
from typing import Self

from tqdm import tqdm

LINE_EVERY_S = 60.0


class Progress:
    """A bar with images per second on a terminal; elsewhere a line a minute on standard output."""

    def __init__(self, label: str, total: int) -> None:
        self._bar = tqdm(total=total, desc=label, unit=" images", mininterval=0.5, disable=None)
        self._label, self._total, self._done = label, total, 0
        self._began = self._told = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def advance(self, images: int = 1) -> None:
        """So many images more are done."""
        self._done += images
        self._bar.update(images)
        now = time.monotonic()
        if self._bar.disable and now - self._told >= LINE_EVERY_S:
            self._told = now
            speed = self._done / (now - self._began)
            self.say(
                f"{self._label}: {self._done:,} of {self._total:,} images, {speed:,.0f} images/s"
            )

    def say(self, line: str) -> None:
        """A line of its own, above the bar where there is one."""
        self._bar.write(line)
