"""Several runs at once, each in a process of its own, as many as there are slots.

Each run is the same alone or beside others: it shares nothing with them but the shards it reads.
"""

import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from multiprocessing.process import BaseProcess

import torch

from t2t.errors import EnvironmentProblem, Preempted, T2TError
from t2t.training.devices import Place
from t2t.training.environment import number_from
from t2t.training.stopping import StopRequest, leave_with_parent, stop_on_signal

_POLL_S = 0.1

# Called with where it takes place.
Job = Callable[[Place], None]


def slots(cpu_threads: int) -> int:
    """How many runs have a place of their own: one per GPU; without one, by cores.

    T2T_SLOTS, where it is set, says otherwise: a scheduler that runs stages side by side sets 1.
    """
    told = number_from("T2T_SLOTS", 1)
    if told is not None:
        return told
    if torch.cuda.is_available():
        return torch.cuda.device_count()
    return max(1, len(os.sched_getaffinity(0)) // cpu_threads)


def at_once(slots: int) -> int:
    """How many runs are under way in `slots`: one in each on GPUs. Without a GPU, where there is
    more than one slot, twice as many share the cores, for else the last run would often be alone.
    """
    return slots if slots == 1 or torch.cuda.is_available() else 2 * slots


def processes_of_each(jobs: int, slots: int, most: int) -> int:
    """How many processes, each with its GPU, train one of `jobs` runs together.

    GPUs are shared out evenly, to `most` processes of a run: `most_ranks` of its batch.
    T2T_PROCESSES, where it is set, says otherwise, and is the only way to have several on a CPU.
    """
    told = number_from("T2T_PROCESSES", 1)
    if told is not None:
        return told
    return max(1, min(most, slots // jobs)) if torch.cuda.is_available() else 1


def run_side_by_side(jobs: Sequence[Job], slots: int, most: int = 1) -> None:
    """Runs `jobs`, which pickle, as many `at_once` as `slots` take; with one slot, in this process.

    More GPUs than jobs train each job in several processes, `most` of them at most. Raises the
    first error of a job after stopping the others, which save their state; Preempted where this
    process is asked to stop.
    """
    processes = processes_of_each(len(jobs), slots, most)
    slots = max(1, slots // processes)
    if slots == 1 or len(jobs) == 1:
        _one_after_the_other(jobs, processes)
        return
    with stop_on_signal() as stop:
        _Children(jobs, at_once(slots), processes).run(stop)


def _one_after_the_other(jobs: Sequence[Job], processes: int) -> None:
    # The agent of several processes listens for itself.
    with stop_on_signal() if processes == 1 else nullcontext() as stop:
        for job in jobs:
            if stop:
                raise Preempted(f"stopped by {stop.signal_name}; run again to go on")
            job(Place(0, processes))


class _Children:
    """The jobs' processes, from the first start to the last end."""

    def __init__(self, jobs: Sequence[Job], slots: int, processes: int):
        self.processes = processes
        # A server that has imported everything once forks a child in no time.
        self.context = multiprocessing.get_context("forkserver")
        self.context.set_forkserver_preload(["t2t.training.run"])
        self.waiting = list(jobs)
        self.free = list(range(slots))
        self.running: list[tuple[BaseProcess, int, multiprocessing.SimpleQueue[T2TError]]] = []
        self.problem: T2TError | None = None
        self.told = False

    def run(self, stop: StopRequest) -> None:
        """Starts, watches and ends the children. Raises the first error."""
        try:
            while self.running or (self.waiting and not self.problem and not stop):
                while self.waiting and self.free and not self.problem and not stop:
                    self._start(self.waiting.pop(0))
                if (stop or self.problem) and not self.told:
                    self._terminate()
                time.sleep(_POLL_S)
                self._reap()
        except BaseException:
            self._terminate()
            raise
        if self.problem:
            raise self.problem
        if self.waiting:
            raise Preempted(f"stopped by {stop.signal_name}; all is saved, run again to go on")

    def _start(self, job: Job) -> None:
        slot = self.free.pop(0)
        answers = self.context.SimpleQueue()
        process = self.context.Process(
            target=_run_job, args=(job, Place(slot, self.processes), answers)
        )
        process.start()
        self.running.append((process, slot, answers))

    def _reap(self) -> None:
        for entry in [entry for entry in self.running if not entry[0].is_alive()]:
            process, slot, answers = entry
            self.running.remove(entry)
            self.free.append(slot)
            if process.exitcode and self.problem is None:
                if not answers.empty():
                    self.problem = answers.get()
                elif self.told and process.exitcode == -signal.SIGTERM:
                    self.problem = Preempted("stopped before it had begun; run again to go on")
                else:
                    self.problem = _unexplained(process.exitcode)

    def _terminate(self) -> None:
        """Asks once: a second signal would break off the agent that waits for a job's ranks."""
        self.told = True
        for process, _, _ in self.running:
            process.terminate()


def _unexplained(exitcode: int) -> T2TError:
    cause = f"signal {-exitcode}" if exitcode < 0 else f"exit code {exitcode}"
    return EnvironmentProblem(
        f"a training process ended with {cause}; what it had saved is kept, run again to go on"
    )


def _run_job(job: Job, place: Place, answers: "multiprocessing.SimpleQueue[T2TError]") -> None:
    """A child's whole life: it dies with the parent and reports an error as the parent would."""
    leave_with_parent()
    try:
        job(place)
    except T2TError as error:
        answers.put(error)
        sys.exit(error.exit_code)
