"""What became of a stage, and what is told while it happens."""

import dataclasses
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal


class Status(StrEnum):
    """How a stage ended."""

    MADE = "made"
    RESTORED = "from cache"
    UNCHANGED = "up to date"
    FAILED = "failed"
    SKIPPED = "skipped"
    STOPPED = "stopped"

    @property
    def is_good(self) -> bool:
        """Whether what needs the stage can go on."""
        return self in (Status.MADE, Status.RESTORED, Status.UNCHANGED)


@dataclass(frozen=True)
class Outcome:
    """`why` and `lines`, the end of the log, are there for a stage that did not end well."""

    status: Status
    seconds: float = 0.0
    attempts: int = 0
    why: str = ""
    lines: tuple[str, ...] = ()
    log: str = ""


@dataclass(frozen=True)
class Event:
    """Something that happened to a stage; `details` are plain values.

    started: attempt, gpus, log; of a pool's its worker and the id of its run. retried: why.
    ended: an Outcome's values. note: text.
    """

    kind: Literal["started", "retried", "ended", "note"]
    stage: str
    details: dict[str, Any]
    time_s: float

    def as_values(self) -> dict[str, Any]:
        """The event as plain values, a line of the flow's journal."""
        return dataclasses.asdict(self)


Listener = Callable[[Event], None]


def event(kind: Any, stage: str, **details: Any) -> Event:
    """An event of this moment (seconds since 1970)."""
    return Event(kind, stage, details, time.time())
