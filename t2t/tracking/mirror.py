"""Delivers what workspaces owe, and gives a dead server time to return."""

import contextlib
import fcntl
import time
from collections.abc import Iterator
from pathlib import Path

from t2t.errors import DataError
from t2t.tracking.delivery import Delivery, Labels, state_of, told
from t2t.training.record import RUN_RECORD

RETRY_AFTER_S = 60.0


class Mirror:
    """Delivers whatever the workspaces below `root` owe, and gives a dead server time to return.

    A `patient` one waits for another mirror to be done with a workspace, and asks the server
    whether it still has every run; others pass such a workspace over, and believe their ledger.
    """

    def __init__(
        self,
        root: Path,
        tracking_uri: str,
        *,
        patient: bool = False,
        labels: Labels | None = None,
    ):
        self.root = root
        self._patient = patient
        self.labels: Labels = labels or {}
        self.uri = tracking_uri
        self.problem: str | None = None
        self._retry_at = 0.0
        # What a workspace that owes nothing looked like: its journals are not read for nothing.
        self._settled: dict[Path, object] = {}

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
                    self._deliver(folder)
                except DataError as error:  # this run's trouble, and no other's
                    damaged = str(error)
                except Exception as error:  # a tracker's trouble, whatever it is, is not ours
                    self.problem = told(error, self.uri)
                    self._retry_at = time.monotonic() + RETRY_AFTER_S
                    return False
        self.problem = damaged
        return damaged is None

    def _deliver(self, folder: Path) -> None:
        before = state_of(folder)
        if self._settled.get(folder) == before and not self._patient:
            return
        delivery = Delivery(folder, self.uri, self.labels)
        if self._patient:
            delivery.forget_lost_run()
        if delivery.is_owed():
            delivery.deliver()
        else:
            self._settled[folder] = before


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
