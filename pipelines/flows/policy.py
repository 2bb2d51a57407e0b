"""Which job starts next: the one with the longest way to go, with room kept for wide ones.

Greedy filling starves a job that wants four GPUs for as long as narrow ones find a free one. Here
the first job that does not fit is given a reservation: others may use its GPUs only as long as they
are expected to be done by the time it could start ("backfilling").
"""

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pipelines.flows.jobs import Job, critical_minutes


@dataclass(frozen=True)
class Room:
    """What a machine has: GPUs, and places for jobs that want none."""

    gpus: int
    places: int

    def gpus_for(self, job: Job) -> int:
        """How many GPUs the job gets: never more than there are, none where there are none."""
        return min(job.gpus, self.gpus)


@dataclass(frozen=True)
class Running:
    """A job under way; `ends_min` is when it is expected to end, in minutes of any one clock."""

    job: Job
    gpus: int
    ends_min: float


def next_job(
    ready: Sequence[Job],
    running: Sequence[Running],
    room: Room,
    priority: Mapping[str, float],
    now_min: float,
) -> Job | None:
    """The job of `ready` to start now, None where there is nothing to do but wait.

    One that is to be alone waits for the moment at which nothing runs, and holds up nobody else.
    """
    if any(entry.job.alone for entry in running):
        return None
    free = room.gpus - sum(entry.gpus for entry in running)
    places = room.places - sum(entry.gpus == 0 for entry in running)
    reserved_from: float | None = None
    spare = 0
    for job in sorted(ready, key=lambda job: (-priority[job.name], job.name)):
        if job.alone:
            continue
        wanted = room.gpus_for(job)
        if wanted == 0:
            if places > 0:
                return job
        elif wanted > free:
            if reserved_from is None:
                reserved_from, spare = _reservation(wanted, free, running, now_min)
        elif reserved_from is None or wanted <= spare or now_min + job.minutes <= reserved_from:
            return job
    return None if running else next((job for job in ready if job.alone), None)


def _reservation(
    wanted: int, free: int, running: Sequence[Running], now_min: float
) -> tuple[float, int]:
    """When `wanted` GPUs will be free, and how many more than that will be."""
    for entry in sorted(running, key=lambda entry: entry.ends_min):
        free += entry.gpus
        if free >= wanted:
            # One that is overdue may end at any moment.
            return max(entry.ends_min, now_min), free - wanted
    return now_min, 0


def expected_minutes(jobs: Sequence[Job], room: Room) -> float:
    """How long `jobs` take in `room` if each takes its minutes, by going through the motions."""
    priority = critical_minutes(jobs)
    waiting = {job.name: set(job.needs) for job in jobs}
    by_name = {job.name: job for job in jobs}
    ready = [job for job in jobs if not job.needs]
    running: list[tuple[float, str, Running]] = []
    now = 0.0
    while ready or running:
        while job := next_job(ready, [entry for *_, entry in running], room, priority, now):
            ready.remove(job)
            entry = Running(job, room.gpus_for(job), now + job.minutes)
            heapq.heappush(running, (entry.ends_min, job.name, entry))
        now, done, _ = heapq.heappop(running)
        del waiting[done]
        for name, needs in waiting.items():
            if done in needs:
                needs.discard(done)
                if not needs:
                    ready.append(by_name[name])
    return now
