"""FFCV's writer in a child process that is watched.

FFCV's own writer waits for ever when a worker of its fails or dies. Here its worker's job runs in
one child process, so that an exception ends it, and the parent watches that child for progress.
"""

import multiprocessing
import queue
import time
from multiprocessing.connection import Connection
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from t2t.data.beton import PAGE_BYTES
from t2t.data.ffcv_import import import_ffcv
from t2t.data.images import stored_pixels
from t2t.data.types import Pixels, Split
from t2t.errors import DataError, EnvironmentProblem, T2TError

REPORT_EVERY_S = 0.5


class _StoredSamples:
    """The samples as FFCV takes them, telling the parent how far it has come."""

    def __init__(self, samples: Split, image_size: int, crop_pct: float, link: Connection) -> None:
        self.samples, self.image_size, self.crop_pct = samples, image_size, crop_pct
        self.link, self.reported_at = link, 0.0

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> tuple[Pixels, int]:
        if time.monotonic() - self.reported_at > REPORT_EVERY_S:
            self.reported_at = time.monotonic()
            self.link.send(("progress", int(index)))
        image, label = self.samples[int(index)]
        return stored_pixels(image, self.image_size, self.crop_pct), label


class _PrivateMemory:
    """Stands in for shared memory: one process needs none, and it cannot leak when killed."""

    def __init__(self, create: bool, size: int) -> None:
        self.buf = memoryview(bytearray(size))


def _write(dataset: _StoredSamples, path: Path) -> None:
    import_ffcv()
    from ffcv import writer
    from ffcv.fields import IntField, RGBImageField

    # The parent's start method would give FFCV's counters names that outlive a killed process.
    multiprocessing.set_start_method("fork", force=True)
    setattr(writer, "shared_memory", SimpleNamespace(SharedMemory=_PrivateMemory))  # noqa: B010

    class OneProcessWriter(writer.DatasetWriter):
        """Runs the worker's job here instead of waiting for a process that may be dead."""

        def _write_common(
            self, num_samples: int, queue_content: Any, work_fn: Any, extra_worker_args: tuple
        ) -> None:
            self.num_samples = num_samples
            self.prepare()
            allocator = writer.MemoryAllocator(self.fname, self.data_region_start, self.page_size)
            tasks, allocations = queue.Queue(), queue.Queue()
            for task in [*queue_content, None]:
                tasks.put(task)
            done = writer.Value(writer.ctypes.c_uint64, 0)
            memory = (self.metadata_sm, self.metadata_type)
            work_fn(tasks, *memory, self.fields, allocator, done, allocations, *extra_worker_args)
            self.finalize(allocations.get_nowait())

    fields = {"image": RGBImageField(write_mode="raw"), "label": IntField()}
    beton = OneProcessWriter(str(path), fields, page_size=PAGE_BYTES, num_workers=1)
    beton.from_indexed_dataset(dataset)


def _child(link: Connection, samples: Split, path: Path, image_size: int, crop_pct: float) -> None:
    try:
        _write(_StoredSamples(samples, image_size, crop_pct, link), path)
    except EnvironmentProblem as error:
        link.send(("environment", str(error)))
    except Exception as error:
        text = str(error) if isinstance(error, T2TError) else f"{type(error).__name__}: {error}"
        link.send(("failed", text))
    else:
        link.send(("done", len(samples)))


def write_beton(
    samples: Split, path: Path, *, image_size: int, crop_pct: float, stall_timeout_s: float
) -> None:
    """Write `samples` as raw RGB images and labels to the .beton file `path`.

    Raises DataError where the child fails, dies or reports nothing for `stall_timeout_s` seconds,
    EnvironmentProblem where FFCV cannot be imported; what is at `path` is then of no use.
    """
    context = multiprocessing.get_context("spawn")
    link, childs_link = context.Pipe(duplex=False)
    arguments = (childs_link, samples, path, image_size, crop_pct)
    process = context.Process(target=_child, args=arguments, daemon=True)
    try:
        process.start()
        childs_link.close()
        _watch(link, process, path, stall_timeout_s)
        process.join()
    finally:
        if process.is_alive():
            process.kill()
            process.join()
        link.close()


def _watch(link: Any, process: Any, path: Path, stall_timeout_s: float) -> None:
    reached = 0
    while True:
        if not link.poll(stall_timeout_s):
            raise DataError(
                f"{path}: its writer made no progress for {stall_timeout_s:g} s after sample "
                f"{reached}; check that sample and the disk, then write the shard again"
            )
        try:
            kind, detail = link.recv()
        except EOFError:
            process.join()
            raise DataError(
                f"{path}: its writer died after sample {reached} (exit code {process.exitcode}, "
                "a negative one is a signal); check memory and disk, then write the shard again"
            ) from None
        if kind == "progress":
            reached = detail
        elif kind == "environment":
            raise EnvironmentProblem(detail)
        elif kind == "failed":
            raise DataError(f"{path}: its writer failed after sample {reached}: {detail}")
        else:
            return
