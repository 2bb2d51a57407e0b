"""Encoding a split in several processes; what comes back is in order, whatever their number.

Each worker encodes whole chunks of samples, the chunks going round the workers in turn. A worker
has two of them to do at most, so that little is held in memory, and all it shares with this process
is a socket: one that is killed is noticed, and nothing is left behind in shared memory.
"""

import contextlib
import ctypes
import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Generator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any

from t2t.data.stored_forms import Form, StoredImage
from t2t.data.types import NamedSplit, Split
from t2t.errors import DataError

CHUNK_SAMPLES = 32
CHUNKS_AHEAD = 2
WORTH_A_WORKER = 256
_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class Refused:
    """A sample that cannot be stored: where its image is, "" where nobody knows, and why."""

    path: str
    why: str


# A sample's image and label, or what is wrong with it.
Outcome = tuple[StoredImage, int] | Refused


def default_workers(samples: int) -> int:
    """A process for each core, if there are samples enough to be worth its start."""
    return min(len(os.sched_getaffinity(0)), -(-samples // WORTH_A_WORKER))


def encode(
    samples: Split, form: Form, *, workers: int, stall_timeout_s: float
) -> Generator[Outcome, None, None]:
    """Every sample's outcome, in order, encoded by `workers` processes.

    Raises DataError where a worker dies, or gives nothing for `stall_timeout_s` seconds. The
    processes end with the iterator, and with this process.
    """
    starts = range(0, len(samples), CHUNK_SAMPLES)
    chunks = deque((start, min(start + CHUNK_SAMPLES, len(samples))) for start in starts)
    pool: list[_Worker] = []
    try:
        for _ in range(min(workers, len(chunks))):
            pool.append(_Worker(samples, form))
        for worker in pool * CHUNKS_AHEAD:
            worker.take_from(chunks)
        while pool and pool[0].owed:
            yield from pool[0].give(stall_timeout_s)
            pool[0].take_from(chunks)
            pool.append(pool.pop(0))
    finally:
        for worker in pool:
            worker.end()


class _Worker:
    """A process that encodes, seen from the parent; `owed` are the chunks it has been given."""

    def __init__(self, samples: Split, form: Form) -> None:
        context = multiprocessing.get_context("spawn")
        self.link, childs_link = context.Pipe()
        self.process: BaseProcess = context.Process(
            target=_serve, args=(childs_link, form), daemon=True
        )
        self.process.start()
        childs_link.close()
        # Not as an argument: to a child that dies before it reads, `start` would write for ever
        # what a pipe does not hold.
        with contextlib.suppress(ConnectionError):
            self.link.send(samples)
        self.owed: deque[tuple[int, int]] = deque()

    def take_from(self, chunks: deque[tuple[int, int]]) -> None:
        """Give it the next chunk, where there is one."""
        if not chunks:
            return
        self.owed.append(chunks.popleft())
        # A dead worker is told of where its answer is missed.
        with contextlib.suppress(ConnectionError):
            self.link.send(self.owed[-1])

    def give(self, stall_timeout_s: float) -> list[Outcome]:
        """Its oldest chunk, encoded."""
        start, stop = self.owed.popleft()
        where = f"images {start} to {stop - 1}"
        if not self.link.poll(stall_timeout_s):
            raise DataError(
                f"{where}: a worker made no progress for {stall_timeout_s:g} s; check these "
                "images and the disk, then write the shard again"
            )
        try:
            return self.link.recv()
        except (EOFError, ConnectionError):
            self.process.join()
            raise DataError(
                f"{where}: a worker died (exit code {self.process.exitcode}, a negative one is a "
                "signal); check memory and these images, then write the shard again"
            ) from None

    def end(self) -> None:
        """Kill it, whatever it is at."""
        self.process.kill()
        self.process.join()
        self.process.close()
        self.link.close()


def _serve(link: Connection, form: Form) -> None:
    """A worker's life: it encodes what it is asked to, and dies with the parent."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent's to answer
    with contextlib.suppress(EOFError, ConnectionError):
        samples = link.recv()
        while True:
            link.send([_outcome(samples, form, index) for index in range(*link.recv())])


def _outcome(samples: Split, form: Form, index: int) -> Outcome:
    path = samples.path_of(index) if isinstance(samples, NamedSplit) else ""
    image: Any = None
    try:
        image, label = samples[index]
        path = path or str(getattr(image, "filename", ""))
        return form.stored(image), label
    except Exception as error:
        # Pillow's decoders raise many types; each means that this image cannot be stored.
        return Refused(path, str(error) or repr(error))
    finally:
        if image is not None:
            image.close()
