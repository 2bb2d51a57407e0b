"""The loop that starts each stage as soon as what it needs is there and there is room for it."""

import queue
import threading
import time
from collections.abc import Callable, Sequence

from pipelines.flows.gpus import NONE_HELD, GpuPool, Held
from pipelines.flows.jobs import Job, critical_minutes
from pipelines.flows.outcome import Listener, Outcome, Status, event
from pipelines.flows.policy import Room, Running, next_job

# How soon a request to stop is seen, and a GPU that another flow has given back.
_POLL_S = 0.5

Maker = Callable[[Job, Held], Outcome]


class Scheduler:
    """Jobs on their way, each made by `make` in a thread of its own.

    `jobs` has every job after those that it needs. make: tells everything by its outcome; an
    exception of it is a defect, and is raised by `run` when the others have ended.
    """

    def __init__(self, jobs: Sequence[Job], room: Room, pool: GpuPool, make: Maker, tell: Listener):
        self._jobs = {job.name: job for job in jobs}
        self._room, self._pool, self._make, self._tell = room, pool, make, tell
        self._priority = critical_minutes(jobs)
        self._waiting = dict(self._jobs)
        self._running: dict[str, tuple[Running, Held]] = {}
        self._ended: queue.SimpleQueue[tuple[str, Outcome | BaseException]] = queue.SimpleQueue()
        self.outcomes: dict[str, Outcome] = {}

    def run(self, is_to_stop: Callable[[], bool]) -> dict[str, Outcome]:
        """The outcome of every job. Once `is_to_stop`, nothing more is started.

        Whatever goes wrong here is raised when all that runs has ended: what it leaves can be
        recorded as long as the caller keeps DVC's part and the lock.
        """
        problem: BaseException | None = None
        while self._waiting or self._running:
            try:
                self._turn(is_over=problem is not None or is_to_stop())
            except BaseException as error:
                problem = problem or error
        if problem:
            raise problem
        return self.outcomes

    def _turn(self, is_over: bool) -> None:
        if is_over:
            self._give_up()
        else:
            self._start_what_fits()
        if not self._running and not self._waiting:
            return
        try:
            name, outcome = self._ended.get(timeout=_POLL_S)
        except queue.Empty:
            return
        self._running.pop(name)[1].release()
        if isinstance(outcome, BaseException):
            self._settle(name, Outcome(Status.FAILED, why=f"{type(outcome).__name__}: {outcome}"))
            raise outcome
        self._settle(name, outcome)

    def _start_what_fits(self) -> None:
        ready = [job for job in self._waiting.values() if self._is_ready(job)]
        while job := next_job(
            ready,
            [running for running, _ in self._running.values()],
            self._room,
            self._priority,
            time.monotonic() / 60,
        ):
            wanted = self._room.gpus_for(job)
            held = self._pool.try_hold(wanted) if wanted else NONE_HELD
            if held is None:
                # Another flow on this host has them; asked again at the next turn. Narrower jobs
                # do not get ahead of this one meanwhile, those without a GPU are in nobody's way.
                ready = [other for other in ready if not self._room.gpus_for(other)]
                continue
            thread = threading.Thread(target=self._work, args=(job, held), name=job.name)
            thread.start()
            ready.remove(job)
            del self._waiting[job.name]
            ends = time.monotonic() / 60 + job.minutes
            self._running[job.name] = Running(job, wanted, ends), held

    def _is_ready(self, job: Job) -> bool:
        return all(
            name in self.outcomes and self.outcomes[name].status.is_good for name in job.needs
        )

    def _work(self, job: Job, held: Held) -> None:
        # The thread lives as long as its command: Linux ends that with the thread that started it.
        try:
            self._ended.put((job.name, self._make(job, held)))
        except BaseException as error:
            self._ended.put((job.name, error))

    def _settle(self, name: str, outcome: Outcome) -> None:
        self.outcomes[name] = outcome
        self._tell(event("ended", name, **vars(outcome)))
        if outcome.status.is_good:
            return
        for other in [job for job in self._waiting.values() if name in job.needs]:
            if other.name in self._waiting:
                del self._waiting[other.name]
                skipped = outcome.status is Status.SKIPPED
                why = outcome.why if skipped else f"{name} {outcome.status}"
                self._settle(other.name, Outcome(Status.SKIPPED, why=why))

    def _give_up(self) -> None:
        while self._waiting:
            name = next(iter(self._waiting))
            del self._waiting[name]
            self._settle(name, Outcome(Status.STOPPED, why="not begun"))
