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
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeVar

from pipelines.flows.gpus import Held
from pipelines.flows.jobs import Job
from pipelines.flows.outcome import Listener, Outcome, Status, event
from pipelines.flows.request import Request, packed
from pipelines.flows.watch import UNTOLD, Hint, Watch
from pipelines.keeper import Found, Keeper
from pipelines.remote import Exchange, RemoteAway, patiently
from t2t.errors import EnvironmentProblem, T2TError

MOST_ATTEMPTS = 4
# Of attempts that never began, or were asked to stop: nothing that the stage could help.
MOST_INTERRUPTIONS = 20
_LONGEST_PAUSE_S = 60.0
_NOBODY_S = 120.0
_POLL_S = 2.0
_Answer = TypeVar("_Answer")


class Dispatcher(Protocol):
    """The pool's server. Its methods return soon, and do not mind where it is away."""

    def submit(self, request: Request) -> str | None:
        """Asks for a worker; an id for the run, None where the server does not answer.

        Raises T2TError where it answers that it never will.
        """
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


@dataclass
class _Tries:
    """What was tried for one stage."""

    failures: int = 0
    interruptions: int = 0

    @property
    def count(self) -> int:
        return self.failures + self.interruptions

    @property
    def is_enough(self) -> bool:
        return self.failures >= MOST_ATTEMPTS or self.interruptions >= MOST_INTERRUPTIONS

    def add(self, ended: Mapping[str, Any], poll_s: float) -> float:
        """Counts one, and says how many seconds to wait before the next.

        Longer after each interruption: one bad worker, which is always free, must not use up what
        a stage may try before a good one is.
        """
        if ended["status"] != Status.STOPPED and not ended.get("interrupted"):
            self.failures += 1
            return 0.0
        self.interruptions += 1
        return min(_LONGEST_PAUSE_S, poll_s * 2**self.interruptions)


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
        self._there: set[str] = set()
        self._heard_s, self._is_said = time.monotonic(), False

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
        self._hand_out(job)
        tries = _Tries()
        while True:
            request = self._request(job, digest)
            self._patiently(partial(self._leave, request, request.token))
            run = self._submitted(request)
            attempt = tries.count + 1
            ended = self._watched(request, run, attempt)
            if ended["status"] == Status.STOPPED and self._is_to_stop():
                with contextlib.suppress(RemoteAway):
                    self._leave(request, "stopped")
                if run:
                    self._dispatcher.cancel(run)
                return Outcome(Status.STOPPED, time.monotonic() - began, attempt, "asked to stop")
            if ended["status"] == Status.MADE:
                return self._collected(job, Status.MADE, ended["began_s"], attempt)
            pause_s = tries.add(ended, self._errand.poll_s)
            if tries.is_enough or not ended["again"]:
                lines = tuple(ended.get("lines", ()))
                seconds = time.monotonic() - began
                return Outcome(Status.FAILED, seconds, attempt, ended["why"], lines)
            self._tell(event("retried", job.name, why=ended["why"]))
            self._pause(pause_s)

    def _pause(self, seconds: float) -> None:
        go_on_at = time.monotonic() + seconds
        while time.monotonic() < go_on_at and not self._is_to_stop():
            time.sleep(self._errand.poll_s)

    def _hand_out(self, job: Job) -> None:
        """Brings onto the remote what the stage reads, as far as no worker has made it: what is up
        to date here may be on no remote."""
        for name in self._keeper.upstream(job.name):
            if name not in self._there and not self._is_to_stop():
                # Two may do it at once: what is there is not sent again.
                self._patiently(partial(self._exchange.publish, name))
                self._there.add(name)

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

    def _watched(self, request: Request, run: str | None, attempt: int) -> Mapping[str, Any]:
        """Waits for a result, the worker's own word, or the lack of either."""
        asked_s = time.monotonic()
        watch, away, is_told = Watch(request.beat_s, asked_s), False, False
        while not self._is_to_stop():
            # Asked before the remote: a run that is over has left there what it ever will.
            hint = self._dispatcher.hint(run) if run else UNTOLD
            try:
                looked_s = time.monotonic()
                note = self._exchange.read_note(request.own_note) or {}
                if watch.hears(note, looked_s):
                    self._heard_s, self._is_said = looked_s, False
                is_made = self._exchange.fetch(request.digest)
                if not is_told and (is_made or watch.began_s is not None):
                    is_told = True
                    details = {"gpus": (), "log": "", "worker": note.get("worker", "")}
                    self._tell(event("started", request.stage, attempt=attempt, run=run, **details))
                if is_made:
                    return {"status": Status.MADE, "began_s": watch.began_s or asked_s}
                away = False
            except RemoteAway as error:
                if not away:
                    self._tell(event("note", request.stage, text=str(error)))
                away, self._heard_s = True, time.monotonic()
                watch.forgive(self._heard_s)
                time.sleep(self._errand.poll_s)
                continue
            if ended := watch.verdict(note, hint, looked_s):
                return ended
            self._say_where_nobody_works(request.stage, asked_s, looked_s)
            time.sleep(self._errand.poll_s)
        return {"status": Status.STOPPED}

    def _say_where_nobody_works(self, stage: str, asked_s: float, now_s: float) -> None:
        if now_s - max(asked_s, self._heard_s) > _NOBODY_S and not self._is_said:
            self._is_said = True
            text = f"no worker has been heard of for {_NOBODY_S:.0f} s; has one been started?"
            self._tell(event("note", stage, text=text))

    def _collected(self, job: Job, status: Status, began: float, attempts: int) -> Outcome:
        self._keeper.abandon(job.name)
        if self._keeper.begin(job.name) is not Found.RESTORED:
            raise EnvironmentProblem(
                f"{job.name}: what the remote holds is not of the present inputs; did they change?"
            )
        self._there.add(job.name)
        return Outcome(status, time.monotonic() - began, attempts)


def pool_maker(errand: Errand, dispatcher: Dispatcher):
    """What a flow needs to make its stages in the pool."""

    def of(keeper: Keeper, logs: Path, tell: Listener, is_to_stop: Callable[[], bool]) -> PoolMaker:
        return PoolMaker(keeper, errand, dispatcher, tell, is_to_stop)

    return of
