"""Which GPUs are whose: one lock file for each GPU of the host, held for as long as a stage runs.

Prefect's limits count, but give no GPU's number, and keep a dead holder's place for minutes. The
kernel drops a file lock with the last process that holds the file open. The stage inherits it, so
that a GPU stays taken while a trainer outlives the flow that started it.
"""

import contextlib
import fcntl
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

from t2t.errors import EnvironmentProblem

_OPEN_TO_ALL = 0o666


@dataclass(frozen=True)
class Held:
    """GPUs that are ours: their ids, as CUDA_VISIBLE_DEVICES takes them, the open locks, and of how
    many on this host they are."""

    ids: tuple[str, ...]
    descriptors: tuple[int, ...]
    of: int = 0

    def release(self) -> None:
        """Gives them back, as far as this process is concerned."""
        for descriptor in self.descriptors:
            os.close(descriptor)


NONE_HELD = Held((), ())


class GpuPool:
    """The GPUs `ids` of this host, shared with every other process that asks in the same way."""

    def __init__(self, ids: Sequence[str], folder: Path | None = None):
        self.ids = tuple(ids)
        self._folder = folder or Path(tempfile.gettempdir()) / "t2t-gpus"

    def try_hold(self, count: int) -> Held | None:
        """`count` GPUs that nobody holds, None where there are fewer of them now."""
        held: list[tuple[str, int]] = []
        for gpu in self.ids:
            if len(held) == count:
                break
            descriptor = self._try_lock(gpu)
            if descriptor is not None:
                held.append((gpu, descriptor))
        ids, descriptors = zip(*held, strict=True) if held else ((), ())
        found = Held(ids, descriptors, len(self.ids))
        if len(held) == count:
            return found
        found.release()
        return None

    def _try_lock(self, gpu: str) -> int | None:
        path = self._folder / f"{gpu}.lock"
        try:
            if not self._folder.is_dir():
                self._folder.mkdir(parents=True, exist_ok=True)
                self._folder.chmod(0o1777)  # of all users, as the folder of temporary files is
            descriptor = _opened(path)
        except OSError as error:
            raise EnvironmentProblem(f"{path}: cannot be opened ({error.strerror})") from None
        with contextlib.suppress(OSError):
            os.fchmod(descriptor, _OPEN_TO_ALL)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        return descriptor


def _opened(path: Path) -> int:
    """The file, made where it is not there.

    Asked for O_CREAT, Linux (fs.protected_regular) refuses another user's file in a folder that is
    everybody's, as is /tmp.
    """
    flags = os.O_RDWR | os.O_NOFOLLOW
    with contextlib.suppress(FileNotFoundError):
        return os.open(path, flags)
    with contextlib.suppress(FileExistsError):
        return os.open(path, flags | os.O_CREAT | os.O_EXCL, _OPEN_TO_ALL)
    return os.open(path, flags)  # another was quicker


def visible_gpus(environment: Mapping[str, str]) -> list[str]:
    """The UUIDs of this host's GPUs, in the driver's order; none where there is no driver.

    CUDA_VISIBLE_DEVICES narrows them down as it does for CUDA, by numbers or by UUIDs, and ends
    them at -1. Raises EnvironmentProblem for another number that no GPU has, and for a driver that
    is there and does not work: without a word days of training would be on the processors.
    """
    told = environment.get("CUDA_VISIBLE_DEVICES")
    if told is None:
        return _driver_gpus()
    words = [*takewhile(lambda word: word != "-1", map(str.strip, told.split(",")))]
    # Who wants none need not have a driver that works.
    if not any(words) or not (found := _driver_gpus()):
        return []
    chosen = []
    for word in filter(None, words):
        match = [found[int(word)]] if word.isdecimal() and int(word) < len(found) else []
        match = match or [gpu for gpu in found if word and gpu.startswith(word)]
        if len(match) != 1:
            raise EnvironmentProblem(
                f"CUDA_VISIBLE_DEVICES={told}: {word} is none of the {len(found)} GPUs here"
            )
        chosen += match
    return chosen


def _driver_gpus() -> list[str]:
    import pynvml

    try:
        pynvml.nvmlInit()
    except (pynvml.NVMLError_LibraryNotFound, pynvml.NVMLError_DriverNotLoaded):
        return []
    except pynvml.NVMLError as error:
        raise EnvironmentProblem(
            f"the NVIDIA driver does not work ({error}); mend it, or unload it to go without GPUs"
        ) from None
    try:
        handles = map(pynvml.nvmlDeviceGetHandleByIndex, range(pynvml.nvmlDeviceGetCount()))
        return [str(pynvml.nvmlDeviceGetUUID(handle)) for handle in handles]
    finally:
        pynvml.nvmlShutdown()
