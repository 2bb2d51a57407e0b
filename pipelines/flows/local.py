"""Making a stage on this machine: DVC's part before, the command, DVC's part after."""

import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from pipelines.flows.command import Session, last_lines
from pipelines.flows.gpus import Held
from pipelines.flows.jobs import Job
from pipelines.flows.outcome import Listener, Outcome, Status, event
from pipelines.keeper import Found, Keeper
from pipelines.room import full_disk_told
from t2t.errors import Preempted, T2TError

MOST_ATTEMPTS = 3
# A training saves its state within a step; torchrun's agent is given 45 s for that.
PATIENCE_S = 60.0
_PAUSE_S = 2.0
_KILLED = "killed by signal"
_SIGNALS_FROM = 128  # exit codes of a shell whose command was killed


def is_worth_another_try(code: int) -> bool:
    """Whether a stage that ended so may end otherwise next time: it was killed, or asked to stop.

    A mistake in a file, a data set or the code will be there again.
    """
    return code < 0 or code > _SIGNALS_FROM or code == Preempted.exit_code


class LocalMaker:
    """Makes stages in this workspace, each in a session of its own with a log below `logs`."""

    def __init__(
        self,
        keeper: Keeper,
        logs: Path,
        tell: Listener,
        is_to_stop: Callable[[], bool],
        patience_s: float = PATIENCE_S,
    ):
        self._keeper, self._logs, self._tell = keeper, logs, tell
        self._is_to_stop, self._patience_s = is_to_stop, patience_s

    def __call__(self, job: Job, held: Held) -> Outcome:
        """Makes one stage. Every error of it is in the outcome."""
        log = self._logs / f"{job.name.replace('/', '_')}.log"
        began = time.monotonic()
        for attempt in range(1, MOST_ATTEMPTS + 1):
            try:
                found = self._keeper.begin(job.name)
                if found is not Found.TO_RUN:
                    return Outcome(Status(found.value), time.monotonic() - began)
                self._tell(event("started", job.name, attempt=attempt, gpus=held.ids, log=str(log)))
                code = self._run(job.name, held, log)
                if code == 0:
                    self._keeper.finish(job.name)
                    return Outcome(Status.MADE, time.monotonic() - began, attempt, log=str(log))
            except T2TError as error:
                self._keeper.abandon(job.name)
                return self._ended(Status.FAILED, began, attempt, str(error), log)
            self._keeper.abandon(job.name)
            why = _told_by(code)
            if self._is_to_stop():
                return self._ended(Status.STOPPED, began, attempt, "asked to stop", log)
            if attempt == MOST_ATTEMPTS or not is_worth_another_try(code):
                return self._ended(Status.FAILED, began, attempt, why, log)
            self._tell(event("retried", job.name, why=why))
            time.sleep(_PAUSE_S)
        raise AssertionError("the last attempt returns")

    @full_disk_told()
    def _run(self, name: str, held: Held, log: Path) -> int:
        command = self._keeper.command(name)
        session = Session(
            command.words,
            command.folder,
            {**command.environment, **stage_environment(held)},
            log,
            keep_open=held.descriptors,
        )
        return session.wait(self._is_to_stop, self._patience_s)

    def _ended(self, status: Status, began: float, attempt: int, why: str, log: Path) -> Outcome:
        seconds = time.monotonic() - began
        return Outcome(status, seconds, attempt, why, tuple(last_lines(log)), str(log))


def may_do_better_elsewhere(outcome: Outcome) -> bool:
    """Whether another machine may do better than this one: it was stopped or killed here."""
    killed = outcome.why.startswith(_KILLED)
    return outcome.status is Status.STOPPED or (outcome.status is Status.FAILED and killed)


def stage_environment(held: Held) -> Mapping[str, str]:
    """What a stage is told of its room: the GPUs that it sees and their share of the cores; without
    one, one run at a time."""
    if held.ids:
        cores = len(os.sched_getaffinity(0)) * len(held.ids) // held.of
        return {"CUDA_VISIBLE_DEVICES": ",".join(held.ids), "T2T_CORES": str(max(1, cores))}
    # A user's own T2T_SLOTS stands.
    return {"CUDA_VISIBLE_DEVICES": "", "T2T_SLOTS": os.environ.get("T2T_SLOTS", "1")}


def _told_by(code: int) -> str:
    number = -code if code < 0 else code - _SIGNALS_FROM
    if code < 0 or code > _SIGNALS_FROM:
        return f"{_KILLED} {number}"
    return f"exit code {code}"
