"""A coordinator's watch over one run of a stage: who has begun, who is silent, who never came.

The worker's notes on the remote count. What the pool's server says is a hint: it tells of runs that
left no note at all.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from pipelines.flows.outcome import Status

_BEATS_MISSED = 6
# From when a worker takes a run to its first beat: it may fetch a commit, or wait for its clone.
_BEGIN_PATIENCE_S = 900.0


class State(Enum):
    """How the pool's server has a run."""

    WAITS = "waits for a worker"
    RUNS = "is with a worker"
    IS_OVER = "is over"
    NOT_KNOWN = "is not known"
    UNTOLD = "the server does not answer"


@dataclass(frozen=True)
class Hint:
    """What the pool's server says of a run: its state, and of one that is over why."""

    state: State
    why: str = ""


UNTOLD = Hint(State.UNTOLD)


class Watch:
    """What is known of one run since `now_s`; all times are of one clock, in seconds."""

    def __init__(self, beat_s: float, now_s: float):
        self.began_s: float | None = None
        self._beat_s = beat_s
        self._beat: Any = None
        self._seen_s = now_s
        self._taken_s: float | None = None

    def forgive(self, now_s: float) -> None:
        """Of a worker that cannot be heard nobody can say that it is silent."""
        self._seen_s = now_s
        self._taken_s = None if self._taken_s is None else now_s

    def hears(self, note: Mapping[str, Any], looked_s: float) -> bool:
        """Whether the note, read at `looked_s`, holds a beat that was not there before.

        The time at which it was read counts: what came after, such as the transfer of another
        stage's result, may have taken minutes in which nobody listened.
        """
        is_new = note.get("beat") not in (None, self._beat)
        if is_new:
            self._beat, self._seen_s = note["beat"], looked_s
            self.began_s = looked_s if self.began_s is None else self.began_s
        return is_new

    def verdict(
        self, note: Mapping[str, Any], hint: Hint, looked_s: float
    ) -> Mapping[str, Any] | None:
        """How a run without a result has ended; None while there is nothing to do but wait."""
        if note.get("ended") and Status(note["status"]).is_good:
            return self._lost("its result has not come from the remote as a whole")
        if note.get("ended"):
            return {"again": False, "why": "no reason given", **note}
        silent_s = looked_s - self._seen_s
        if self._beat is not None and silent_s > _BEATS_MISSED * self._beat_s:
            return self._lost(f"its worker has not been heard of for {silent_s:.0f} s")
        if hint.state is State.IS_OVER:
            why = f": {hint.why}" if hint.why else ""
            return self._lost(f"its worker's run is over without a result{why}")
        return None if self._beat is not None else self._verdict_before_it_began(hint, looked_s)

    def _verdict_before_it_began(self, hint: Hint, looked_s: float) -> Mapping[str, Any] | None:
        """By the server alone, as there is nobody else to ask."""
        if hint.state is State.NOT_KNOWN:
            return self._lost("the pool's server knows its run no more")
        if hint.state is State.WAITS:
            self._taken_s = None
        if hint.state is not State.RUNS:
            return None
        self._taken_s = looked_s if self._taken_s is None else self._taken_s
        if looked_s - self._taken_s > _BEGIN_PATIENCE_S:
            return self._lost(f"its worker has not begun for {looked_s - self._taken_s:.0f} s")
        return None

    def _lost(self, why: str) -> Mapping[str, Any]:
        interrupted = self._beat is None
        return {"status": Status.FAILED, "again": True, "why": why, "interrupted": interrupted}
