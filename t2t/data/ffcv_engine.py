"""Reading a .beton with FFCV's loader, its JIT off, its thread guarded, its draws our own.

Import this after `t2t.data.ffcv_import.import_ffcv`, which keeps FFCV's import cheap.
"""

import threading
import time
import warnings
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from queue import Empty, Full
from typing import Any

import numpy as np
import torch
from ffcv.fields.basics import IntDecoder
from ffcv.fields.rgb_image import SimpleRGBImageDecoder
from ffcv.loader import Loader
from ffcv.loader.epoch_iterator import EpochIterator
from ffcv.pipeline.allocation_query import AllocationQuery
from ffcv.pipeline.compiler import Compiler
from numpy.typing import NDArray

from t2t.data.beton import BetonFile
from t2t.data.decode import decode_sample
from t2t.data.render import Renderer
from t2t.data.thread_engine import Frames
from t2t.data.types import Pixels
from t2t.errors import DataError, T2TError

POLL_S = 0.1
JOIN_S = 2.0
_NO_LABELS = np.empty((0, 1), np.int64)


class SeededDecoder(SimpleRGBImageDecoder):
    """Makes a batch's pixels as the project's own threads do, from what FFCV has read."""

    def __init__(self, beton: BetonFile, renderer: Renderer) -> None:
        super().__init__()
        self.beton, self.renderer = beton, renderer

    def declare_state_and_memory(self, previous_state: Any) -> tuple[Any, AllocationQuery]:
        shape, dtype = (3, self.renderer.size_px, self.renderer.size_px), np.dtype("u1")
        state = replace(previous_state, jit_mode=True, shape=shape, dtype=dtype)
        return state, AllocationQuery(shape, dtype)

    def generate_code(self) -> Any:
        read: Any = self.memory_read
        beton, renderer = self.beton, self.renderer

        def decode(indices: Any, destination: Pixels, metadata: Any, storage: Any) -> Pixels:
            epoch = threading.current_thread()
            assert isinstance(epoch, GuardedEpoch)
            sizes = beton.heights[indices], beton.widths[indices]
            draws = renderer.draw(epoch.epoch, indices, *sizes)

            def fill(rows: NDArray[np.int64]) -> None:
                for row in rows.tolist():
                    index = int(indices[row])
                    content = read(metadata[index]["data_ptr"], storage)
                    image = decode_sample(beton, index, content)
                    renderer.render(destination[row], image, draws, row)

            parts = np.array_split(np.arange(len(indices)), min(epoch.workers, len(indices)))
            list(epoch.pool.map(fill, parts))
            return destination[: len(indices)]

        return decode


class GuardedEpoch(EpochIterator):
    """FFCV's epoch thread, with its failures told to the reader and its end awaited.

    FFCV's own lets the reader wait for ever when the thread fails, sets torch's thread count anew,
    and stays blocked on its queue when the reader leaves early.
    """

    def __init__(
        self, loader: Loader, chunks: list[NDArray[np.int64]], epoch: int, workers: int
    ) -> None:
        self.epoch, self.workers, self.chunks = epoch, workers, chunks
        self.device = torch.cuda.current_device() if torch.cuda.is_initialized() else None
        self.failure: BaseException | None = None
        self.pool = ThreadPoolExecutor(workers, thread_name_prefix="t2t-ffcv")
        order: Any = np.concatenate(chunks)
        super().__init__(loader, order)

    def run(self) -> None:
        if self.device is not None:
            # Where FFCV leaves its stream, torch goes back to the thread's first device, and a
            # context there takes hundreds of megabytes from another process's GPU.
            torch.cuda.set_device(self.device)
        try:
            for number, indices in enumerate(self.chunks):
                slot = number % (self.loader.batches_ahead + 2)
                result = self.run_pipeline(number, indices, slot, None)
                while not self.terminate_event.is_set():
                    try:
                        self.output_queue.put(result, timeout=POLL_S)
                        break
                    except Full:
                        continue
                if self.terminate_event.is_set():
                    return
        except BaseException as error:
            self.failure = error

    def results(self, path: Path, stall_timeout_s: float) -> Iterator[tuple]:
        """Each batch's buffers, to be copied before the next is taken.

        Raises DataError when the thread failed, or gave nothing for `stall_timeout_s` seconds.
        """
        for number in range(len(self.chunks)):
            yield self._take(number, path, time.monotonic() + stall_timeout_s)

    def _take(self, number: int, path: Path, deadline: float) -> tuple:
        while True:
            alive = self.is_alive()
            try:
                return self.output_queue.get(timeout=POLL_S)
            except Empty:
                if isinstance(self.failure, T2TError):
                    raise self.failure from None
                if not alive:
                    raise DataError(
                        f"{path}: reading batch {number} of epoch {self.epoch} failed "
                        f"({self.failure!r}); check the shard and its disk"
                    ) from self.failure
                if time.monotonic() > deadline:
                    raise DataError(
                        f"{path}: reading batch {number} of epoch {self.epoch} stalled; "
                        "check the shard's disk"
                    ) from None

    def shut(self) -> None:
        """Stop the threads and wait for them; a stalled one is given up after some seconds."""
        self.terminate_event.set()
        self.join(JOIN_S)
        self.pool.shutdown(wait=not self.is_alive(), cancel_futures=True)
        self.close()


class FFCVEngine:
    """One FFCV loader, kept for life, that reads any order of samples."""

    def __init__(
        self,
        beton: BetonFile,
        renderer: Renderer,
        batch_size: int,
        workers: int,
        stall_timeout_s: float,
    ) -> None:
        self.path, self.workers, self.stall_timeout_s = beton.path, workers, stall_timeout_s
        self._none = np.empty((0, 3, renderer.size_px, renderer.size_px), np.uint8)
        threads, jit = torch.get_num_threads(), Compiler.is_enabled
        try:
            Compiler.set_enabled(False)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                image = SeededDecoder(beton, renderer)
                self.loader = Loader(
                    str(beton.path),
                    batch_size=batch_size,
                    num_workers=1,
                    os_cache=True,
                    seed=0,
                    drop_last=False,
                    pipelines={"image": [image], "label": [IntDecoder()]},
                )
        finally:
            Compiler.set_enabled(jit)
            torch.set_num_threads(threads)

    def batches(
        self, epoch: int, chunks: Sequence[NDArray[np.int64]]
    ) -> Generator[Frames, None, None]:
        """Images (B, 3, S, S) uint8 and labels (B,) int64 of each chunk of sample indices."""
        filled = [chunk for chunk in chunks if len(chunk)]
        if not filled:
            yield from ((self._none, _NO_LABELS[:, 0]) for _ in chunks)
            return
        running = GuardedEpoch(self.loader, filled, epoch, self.workers)
        try:
            results = running.results(self.path, self.stall_timeout_s)
            for chunk in chunks:
                images, labels = next(results) if len(chunk) else (self._none, _NO_LABELS)
                yield images.copy(), labels[:, 0].copy()
        finally:
            running.shut()
