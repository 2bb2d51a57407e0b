"""One mirror at a time: the one that is there serves every stage, the others wait, or leave.

Waiting is cheap as long as neither mlflow nor torch is imported, so this module imports neither.
"""

import contextlib
import fcntl
import select
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TextIO

_POLL_S = 1.0
# Held by the mirror that is at work; and by it as long as its last pass is still to come.
_TURN, _OPEN = "turn.lock", "open.lock"


class Turn:
    """The right to be the mirror of the workspaces below a folder."""

    def __init__(self, open_lock: TextIO):
        self._open_lock = open_lock

    def close(self) -> None:
        """Says that the last pass begins: what ends from now on is the next mirror's to deliver."""
        fcntl.flock(self._open_lock, fcntl.LOCK_UN)


@contextlib.contextmanager
def take_turn(root: Path, has_ended: Callable[[float], bool]) -> Iterator[Turn | None]:
    """Waits until no other mirror works below `root`, and holds its place.

    has_ended: waits the given seconds for the stage that is mirrored to end; whether it has.
    None where it ended while another mirror, whose last pass was still to come, was at work: that
    one delivers what the stage left.
    """
    with open(root / _TURN, "w") as turn, open(root / _OPEN, "w") as open_lock:
        while not _locked(turn):
            if has_ended(_POLL_S):
                if not _locked(open_lock):
                    yield None
                    return
                # The other one is in its last pass already.
                fcntl.flock(open_lock, fcntl.LOCK_UN)
                fcntl.flock(turn, fcntl.LOCK_EX)
                break
        fcntl.flock(open_lock, fcntl.LOCK_EX)
        yield Turn(open_lock)


def _locked(stream: TextIO) -> bool:
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def input_ended(stream: TextIO, seconds: float) -> bool:
    """Whether `stream` ends, or has anything to read, within `seconds`."""
    return bool(select.select([stream], [], [], seconds)[0])
