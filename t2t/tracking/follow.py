"""Follows the journals below a folder of workspaces and mirrors them to MLflow, beside training.

It is a process of its own, so that a tracking server that is slow or gone costs training nothing:
`python -m t2t.tracking.follow FOLDER` follows until its standard input ends.
"""

import contextlib
import fcntl
import os
import select
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from t2t.errors import DataError
from t2t.tracking.delivery import Delivery, public_uri
from t2t.tracking.system import SystemSampler
from t2t.training.record import RUN_RECORD

POLL_S = 2.0
RETRY_AFTER_S = 60.0
# Training comes first where the two share the cores.
_NICENESS = 10


@contextlib.contextmanager
def _only_mirror(folder: Path, patient: bool) -> Iterator[bool]:
    """Holds the workspace against other mirrors; False where one is there and we do not wait."""
    with open(folder / "mirror.lock", "w", encoding="utf-8") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | (0 if patient else fcntl.LOCK_NB))
        except BlockingIOError:
            yield False
        else:
            yield True


class Mirror:
    """Delivers whatever the workspaces below `root` owe, and gives a dead server time to return.

    A `patient` one waits for another mirror to be done with a workspace; others pass it over.
    """

    def __init__(self, root: Path, tracking_uri: str, *, patient: bool = False):
        self.root = root
        self._patient = patient
        self.uri = tracking_uri
        self.problem: str | None = None
        self._retry_at = 0.0

    def workspaces(self) -> list[Path]:
        """The folders of all runs."""
        return sorted(record.parent for record in self.root.glob(f"*/{RUN_RECORD}"))

    def deliver(self) -> bool:
        """One pass over all workspaces; False where something is still owed."""
        if time.monotonic() < self._retry_at:
            return False
        damaged = None
        for folder in self.workspaces():
            with _only_mirror(folder, self._patient) as ours:
                if not ours:
                    continue
                try:
                    delivery = Delivery(folder, self.uri)
                    if delivery.is_owed():
                        delivery.deliver()
                except DataError as error:  # this run's trouble, and no other's
                    damaged = str(error)
                except Exception as error:  # a tracker's trouble, whatever it is, is not ours
                    self.problem = self._told(error)
                    self._retry_at = time.monotonic() + RETRY_AFTER_S
                    return False
        self.problem = damaged
        return damaged is None

    def _told(self, error: Exception) -> str:
        """The first line of an error, without what the address holds of secrets."""
        line = f"{type(error).__name__}: {error}".splitlines()[0]
        return line.replace(self.uri, public_uri(self.uri))


def _under_way(folder: Path) -> bool:
    """Whether a trainer holds the workspace."""
    with open(folder / "lock", "a", encoding="utf-8") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def follow(root: Path, tracking_uri: str) -> None:
    """Mirrors until standard input ends, which it also does when the process behind it dies."""
    os.nice(_NICENESS)
    mirror, sampler = Mirror(root, tracking_uri), SystemSampler()
    while not select.select([sys.stdin], [], [], POLL_S)[0]:
        sampler.sample([folder for folder in mirror.workspaces() if _under_way(folder)])
        mirror.deliver()
    if not mirror.deliver():
        print(f"MLflow at {public_uri(tracking_uri)} has not got everything yet: {mirror.problem}")


def main() -> None:
    """Follows the workspaces below the folder in argv, towards MLFLOW_TRACKING_URI."""
    follow(Path(sys.argv[1]), os.environ["MLFLOW_TRACKING_URI"])


if __name__ == "__main__":
    main()
