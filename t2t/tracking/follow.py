"""Follows the journals below a folder of workspaces and mirrors them to MLflow, beside training.

It works in a process of its own, so that a tracking server that is slow or gone costs training
nothing.
"""

import fcntl
from collections.abc import Callable
from pathlib import Path

from t2t.tracking.mirror import Mirror
from t2t.tracking.system import SystemSampler

POLL_S = 2.0


def _under_way(folder: Path) -> bool:
    """Whether a trainer holds the workspace."""
    with open(folder / "lock", "a", encoding="utf-8") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def follow(mirror: Mirror, has_ended: Callable[[float], bool], close: Callable[[], None]) -> bool:
    """Mirrors until `has_ended`, which waits so many seconds, says so; then once more.

    `close` is called before that last pass. False where something is still owed.
    """
    sampler = SystemSampler()
    while not has_ended(POLL_S):
        sampler.sample([folder for folder in mirror.workspaces() if _under_way(folder)])
        mirror.deliver()
    close()
    return mirror.deliver()
