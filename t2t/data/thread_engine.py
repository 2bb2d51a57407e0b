"""Reading a .beton with a small pool of threads, without FFCV."""

from collections import deque
from collections.abc import Generator
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from t2t.data.beton import BetonFile
from t2t.data.crops import Renderer
from t2t.data.types import Pixels

Frames = tuple[Pixels, NDArray[np.int64]]


class ThreadEngine:
    """Builds batches some steps ahead; Pillow and NumPy release the interpreter's lock."""

    def __init__(self, beton: BetonFile, renderer: Renderer, workers: int) -> None:
        self.beton, self.renderer, self.workers = beton, renderer, workers

    def batches(self, epoch: int, chunks: list[NDArray[np.int64]]) -> Generator[Frames, None, None]:
        """Images (B, S, S, 3) uint8 and labels (B,) int64 of each chunk of sample indices."""
        pending: deque[Future[Frames]] = deque()
        with ThreadPoolExecutor(self.workers, thread_name_prefix="t2t-shard") as pool:
            try:
                for chunk in chunks:
                    pending.append(pool.submit(self._build, epoch, chunk))
                    if len(pending) > self.workers:
                        yield pending.popleft().result()
                while pending:
                    yield pending.popleft().result()
            finally:
                for future in pending:
                    future.cancel()

    def _build(self, epoch: int, indices: NDArray[np.int64]) -> Frames:
        side = self.renderer.size_px
        out = np.empty((len(indices), side, side, 3), np.uint8)
        images = [self.beton.pixels(index) for index in indices]
        self.renderer.render(out, epoch, indices, images)
        return out, self.beton.labels[indices]
