"""Making stages on other machines: asked of a pool of workers, collected from the DVC remote.

The coordinator runs no stage. What it believes is what lies on the remote: a result under the
stage's digest, the worker's beat, its word at the end. What the pool's own server says of a run is
a hint, good for asking again sooner.
"""

import contextlib
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeVar

from pipelines.flows.gpus import Held
from pipelines.flows.jobs import Job
from pipelines.flows.outcome import Listener, Outcome, Status, event
from pipelines.flows.request import Request, packed
from pipelines.keeper import Found, Keeper
from pipelines.remote import Exchange, RemoteAway, patiently
from t2t.errors import EnvironmentProblem, T2TError

MOST_ATTEMPTS = 4
_BEATS_MISSED = 6
_POLL_S = 2.0
_Answer = TypeVar("_Answer")


class Hint(Enum):
    """What the pool's server says of a run."""

    WAITS_OR_RUNS = "waits or runs"
    IS_OVER = "is over"
    UNKNOWN = "unknown"


class Dispatcher(Protocol):
    """The pool's server. Its methods return soon, and raise nothing: it may be away."""

    def submit(self, request: Request) -> str | None:
        """Asks for a worker; an id for the run, None where the server does not answer."""
        ...

    def hint(self, run: str) -> Hint:
        """How the run is doing."""
        ...

    def cancel(self, run: str) -> None:
        """Tells the server that nobody waits for the run any more."""
        ...


@dataclass(frozen=True)
class Errand:
    """What is the same for every stage of a flow."""

    commit: str
    scale: str
    beat_s: float = 10.0
    poll_s: float = _POLL_S


class PoolMaker:
    """Makes stages by asking workers for them."""

    def __init__(
        self,
        keeper: Keeper,
        errand: Errand,
        dispatcher: Dispatcher,
        tell: Listener,
        is_to_stop: Callable[[], bool],
    ):
        self._keeper, self._exchange = keeper, Exchange(keeper)
        self._errand, self._dispatcher = errand, dispatcher
        self._tell, self._is_to_stop = tell, is_to_stop

    def __call__(self, job: Job, held: Held) -> Outcome:
        """Has one stage made. Every error of it is in the outcome."""
        began = time.monotonic()
        try:
            found = self._keeper.begin(job.name)
            if found is not Found.TO_RUN:
                return Outcome(Status(found.value), time.monotonic() - began)
            try:
                return self._made(job, began)
            finally:
                self._keeper.abandon(job.name)
        except T2TError as error:
            return Outcome(Status.FAILED, time.monotonic() - began, why=str(error))

    def _made(self, job: Job, began: float) -> Outcome:
        digest = self._exchange.digest(job.name)
        # What an earlier flow has left there, or somebody else.
        if self._patiently(lambda: self._exchange.fetch(digest)):
            return self._collected(job, Status.RESTORED, began, 0)
        ended: Mapping[str, Any] = {}
        attempt = 0
        for attempt in range(1, MOST_ATTEMPTS + 1):
            request = self._request(job, digest)
            self._patiently(partial(self._leave, request, request.token))
            run = self._submitted(request)
            self._tell(event("started", job.name, attempt=attempt, gpus=(), log="", run=run))
            ended = self._watched(request, run)
            if ended["status"] == Status.STOPPED and self._is_to_stop():
                with contextlib.suppress(RemoteAway):
                    self._leave(request, "stopped")
                if run:
                    self._dispatcher.cancel(run)
                return Outcome(Status.STOPPED, time.monotonic() - began, attempt, "asked to stop")
            if ended["status"] == Status.MADE:
                return self._collected(job, Status.MADE, began, attempt)
            if not ended["again"]:
                break
            self._tell(event("retried", job.name, why=ended["why"]))
        seconds = time.monotonic() - began
        lines = tuple(ended.get("lines", ()))
        return Outcome(Status.FAILED, seconds, attempt, ended["why"], lines)

    def _request(self, job: Job, digest: str) -> Request:
        return Request(
            commit=self._errand.commit,
            stage=job.name,
            scale=self._errand.scale,
            gpus=job.gpus,
            digest=digest,
            token=secrets.token_hex(16),
            upstream=packed(self._exchange.upstream_entries(job.name)),
            beat_s=self._errand.beat_s,
        )

    def _leave(self, request: Request, token: str) -> None:
        self._exchange.write_note(request.current_note, {"token": token})

    def _patiently(self, call: Callable[[], _Answer]) -> _Answer:
        return patiently(call, self._is_to_stop)

    def _submitted(self, request: Request) -> str | None:
        """Asks until the server answers: it may be restarting."""
        while not self._is_to_stop():
            run = self._dispatcher.submit(request)
            if run is not None:
                return run
            time.sleep(self._errand.poll_s)
        return None

    def _watched(self, request: Request, run: str | None) -> Mapping[str, Any]:
        """Waits for a result, the worker's own word, or the lack of either."""
        beat, seen_at = None, time.monotonic()
        away = False
        while not self._is_to_stop():
            # Asked before the remote: a run that is over has left there what it ever will.
            hint = self._dispatcher.hint(run) if run else Hint.UNKNOWN
            try:
                note = self._exchange.read_note(request.own_note) or {}
                if self._exchange.fetch(request.digest):
                    return {"status": Status.MADE}
                away = False
            except RemoteAway as error:
                if not away:
                    self._tell(event("note", request.stage, text=str(error)))
                # Of a worker that cannot be heard nobody can say that it is silent.
                away, seen_at = True, time.monotonic()
                time.sleep(self._errand.poll_s)
                continue
            if note.get("ended") and Status(note["status"]).is_good:
                return _lost("its result has not come from the remote as a whole")
            if note.get("ended"):
                return {"again": False, "why": "no reason given", **note}
            if note.get("beat") != beat:
                beat, seen_at = note.get("beat"), time.monotonic()
            silent_s = time.monotonic() - seen_at
            if beat is not None and silent_s > _BEATS_MISSED * request.beat_s:
                return _lost(f"its worker has not been heard of for {silent_s:.0f} s")
            if hint is Hint.IS_OVER:
                return _lost("its worker's run is over without a result")
            time.sleep(self._errand.poll_s)
        return {"status": Status.STOPPED}

    def _collected(self, job: Job, status: Status, began: float, attempts: int) -> Outcome:
        self._keeper.abandon(job.name)
        if self._keeper.begin(job.name) is not Found.RESTORED:
            raise EnvironmentProblem(
                f"{job.name}: what the remote holds is not of the present inputs; did they change?"
            )
        return Outcome(status, time.monotonic() - began, attempts)


def _lost(why: str) -> Mapping[str, Any]:
    return {"status": Status.FAILED, "again": True, "why": why}


def pool_maker(errand: Errand, dispatcher: Dispatcher):
    """What a flow needs to make its stages in the pool."""

    def of(keeper: Keeper, logs: Path, tell: Listener, is_to_stop: Callable[[], bool]) -> PoolMaker:
        return PoolMaker(keeper, errand, dispatcher, tell, is_to_stop)

    return of
