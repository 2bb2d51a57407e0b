"""Reading a .beton with a small pool of threads, without FFCV."""

from collections import deque
from collections.abc import Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from t2t.data.beton import BetonFile
from t2t.data.decode import decode_sample
from t2t.data.render import Draws, Renderer
from t2t.data.types import Pixels
from t2t.errors import DataError

BATCHES_AHEAD = 2
ROWS_PER_TASK = 16

Frames = tuple[Pixels, NDArray[np.int64]]
# A batch under way: its frames, and the tasks that fill them.
Pending = tuple[Frames, list[Future[None]]]


class ThreadEngine:
    """Builds batches some steps ahead; reading, decoding and resizing release the interpreter's
    lock."""

    def __init__(
        self, beton: BetonFile, renderer: Renderer, workers: int, stall_timeout_s: float
    ) -> None:
        self.beton, self.renderer, self.workers = beton, renderer, workers
        self.stall_timeout_s = stall_timeout_s

    def batches(
        self, epoch: int, chunks: Sequence[NDArray[np.int64]]
    ) -> Generator[Frames, None, None]:
        """Images (B, 3, S, S) uint8 and labels (B,) int64 of each chunk of sample indices.

        Raises DataError naming a sample that cannot be read, or the batch that gave nothing for
        `stall_timeout_s` seconds.
        """
        pool = ThreadPoolExecutor(self.workers, thread_name_prefix="t2t-shard")
        pending: deque[Pending] = deque()
        done, stalled = 0, False
        try:
            for chunk in chunks:
                pending.append(self._start(pool, epoch, chunk))
                if len(pending) > BATCHES_AHEAD:
                    yield self._finished(pending.popleft())
                    done += 1
            while pending:
                yield self._finished(pending.popleft())
                done += 1
        except TimeoutError:
            stalled = True
            raise DataError(
                f"{self.beton.path}: reading batch {done} of epoch {epoch} stalled; "
                "check the shard's disk"
            ) from None
        finally:
            pool.shutdown(wait=not stalled, cancel_futures=True)

    def _start(self, pool: ThreadPoolExecutor, epoch: int, chunk: NDArray[np.int64]) -> Pending:
        side, beton = self.renderer.size_px, self.beton
        images = np.empty((len(chunk), 3, side, side), np.uint8)
        draws = self.renderer.draw(epoch, chunk, beton.heights[chunk], beton.widths[chunk])
        starts = range(0, len(chunk), ROWS_PER_TASK)
        rows = [range(start, min(start + ROWS_PER_TASK, len(chunk))) for start in starts]
        tasks = [pool.submit(self._fill, images, chunk, draws, part) for part in rows]
        return (images, beton.labels[chunk]), tasks

    def _finished(self, batch: Pending) -> Frames:
        frames, tasks = batch
        for task in tasks:
            task.result(self.stall_timeout_s)
        return frames

    def _fill(self, images: Pixels, chunk: NDArray[np.int64], draws: Draws, rows: range) -> None:
        for row in rows:
            index = int(chunk[row])
            image = decode_sample(self.beton, index, self.beton.stored(index))
            self.renderer.render(images[row], image, draws, row)
