"""Writers whose disk is full, on a small file system of their own."""

import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from t2t.errors import EnvironmentProblem, T2TError
from t2t.files import NO_ROOM
from tests.faults.kills import Work

# What is left free: nothing, a block, and what the middle of some file needs.
FREE_BYTES = (0, 4096, 65_536, 500_000, 1_500_000, 3_000_000)


def fill(work: Work, folder: Path, count: int) -> Iterator[dict[str, Any]]:
    """Writes the next version on a disk that is nearly full, then again once it has room."""
    work.write(folder, 0)
    work.write(folder, 1)
    draws = random.Random(0)
    filler = folder / "filler"
    for version in range(2, count + 2):
        old = work.read(folder)
        free = FREE_BYTES[(version - 2) % len(FREE_BYTES)] + draws.randrange(4096)
        take_all_but(free, filler)
        said = _said(work, folder, version)
        rest = [path.name for path in folder.rglob("*.partial")]
        left = _left(work, folder)
        filler.unlink()
        work.write(folder, version)
        new = work.read(folder)
        told = said is None or said.startswith("told")
        sound = left == "refused" or left in (old, new) or work.partly and left <= old | new
        yield {
            "held": told and sound and not rest,
            "what": f"{free} bytes free: {said}; {left} after {old}, {rest}",
            "noticed": said is not None,
        }


def take_all_but(free: int, filler: Path) -> None:
    """Fills the disk under `filler` with that file, to `free` bytes."""
    status = os.statvfs(filler.parent)
    with open(filler, "wb") as file:
        os.posix_fallocate(file.fileno(), 0, status.f_bavail * status.f_frsize - free)


def _said(work: Work, folder: Path, version: int) -> str | None:
    """None where it was written all the same; of errors, only those of a full disk are told."""
    try:
        work.write(folder, version)
    except EnvironmentProblem as error:
        return f"told: {error}"
    except OSError as error:  # the runner explains it
        return f"{'told' if error.errno in NO_ROOM else 'riddle'}: {error!r}"
    except Exception as error:
        return f"riddle: {error!r}"
    return None


def _left(work: Work, folder: Path) -> Any:
    try:
        return work.read(folder)
    except T2TError:
        return "refused"
