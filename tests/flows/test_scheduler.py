"""The ready loop, with makers that do nothing or fail."""

import threading
import time

import pytest

from pipelines.flows.gpus import GpuPool
from pipelines.flows.jobs import Job
from pipelines.flows.outcome import Outcome, Status
from pipelines.flows.policy import Room
from pipelines.flows.scheduler import Scheduler
from t2t.errors import EnvironmentProblem


def graph(**needs):
    return [Job(name, tuple(above), 1, 1.0) for name, above in needs.items()]


DIAMOND = graph(a=[], b=["a"], c=["a"], d=["b", "c"])


def run(jobs, make, room=None, ids=(), folder=None, is_to_stop=lambda: False):
    events = []
    room = room or Room(0, 8)
    scheduler = Scheduler(jobs, room, GpuPool(ids, folder), make, events.append)
    return scheduler.run(is_to_stop), events


def test_each_is_made_once_and_after_what_it_needs():
    made = []

    def make(job, held):
        assert all(name in made for name in job.needs)
        made.append(job.name)
        return Outcome(Status.MADE)

    outcomes, events = run(DIAMOND, make)
    assert sorted(made) == ["a", "b", "c", "d"] and made[0] == "a" and made[-1] == "d"
    assert {event.stage for event in events if event.kind == "ended"} == outcomes.keys()


def test_a_failure_skips_what_needs_it_and_nothing_else():
    jobs = graph(a=[], b=["a"], c=["b"], d=["c"], e=["a"])

    def make(job, held):
        return Outcome(Status.FAILED if job.name == "b" else Status.MADE, why="broke")

    outcomes, _ = run(jobs, make)
    found = {name: str(outcome.status) for name, outcome in outcomes.items()}
    assert found == {"a": "made", "b": "failed", "c": "skipped", "d": "skipped", "e": "made"}
    assert outcomes["d"].why == "b failed"


@pytest.mark.parametrize("places", [1, 3])
def test_never_more_at_once_than_there_are_places(places):
    most, now, mutex = 0, 0, threading.Lock()
    meet = threading.Barrier(places)

    def make(job, held):
        nonlocal most, now
        with mutex:
            now += 1
            most = max(most, now)
        meet.wait(10)  # passes only if as many are under way
        with mutex:
            now -= 1
        return Outcome(Status.MADE)

    run([Job(str(i), (), 1, 1.0) for i in range(6)], make, Room(0, places))
    assert most == places


def test_every_gpu_has_one_job_at_a_time(tmp_path):
    mutex, taken = threading.Lock(), set()

    def make(job, held):
        assert len(held.ids) == job.gpus
        with mutex:
            assert not taken & set(held.ids)
            taken.update(held.ids)
        threading.Event().wait(0.01)
        with mutex:
            taken.difference_update(held.ids)
        return Outcome(Status.MADE)

    jobs = [Job(str(i), (), 1 + i % 2, 1.0) for i in range(12)]
    outcomes, _ = run(jobs, make, Room(3, 1), ("A", "B", "C"), tmp_path)
    assert len(outcomes) == 12 and all(o.status is Status.MADE for o in outcomes.values())


def test_what_needs_no_gpu_goes_on_while_another_flow_has_the_gpus(tmp_path):
    theirs = GpuPool(("A",), tmp_path).try_hold(1)
    jobs = [Job("gpu", (), 1, 9.0), Job("narrow", (), 1, 2.0), Job("plain", (), 0, 1.0)]
    made = []

    def make(job, held):
        made.append(job.name)
        if job.name == "plain":
            theirs.release()
        return Outcome(Status.MADE)

    run(jobs, make, Room(1, 1), ("A",), tmp_path, is_to_stop=stop_after(10))
    assert made == ["plain", "gpu", "narrow"]


def stop_after(seconds):
    give_up_at = time.monotonic() + seconds
    return lambda: time.monotonic() > give_up_at


def test_stopping_starts_nothing_more():
    stop = threading.Event()

    def make(job, held):
        stop.set()
        return Outcome(Status.STOPPED)

    outcomes, _ = run(DIAMOND, make, is_to_stop=stop.is_set)
    found = {name: str(outcome.status) for name, outcome in outcomes.items()}
    assert found.pop("a") == "stopped" and set(found.values()) <= {"stopped", "skipped"}


@pytest.fixture
def slowly():
    """A maker whose job `slow` ends half a second after `slowly.end()`."""

    class Slowly:
        def __init__(self):
            self.ended, self._end = [], threading.Event()

        def __call__(self, job, held):
            if job.name == "slow":
                assert self._end.wait(10)
            self.ended.append(job.name)
            return Outcome(Status.MADE)

        def end(self):
            threading.Timer(0.5, self._end.set).start()

    return Slowly()


def test_a_listener_that_fails_is_told_when_the_others_have_ended(slowly):
    """A journal on a full disk, say: what runs still needs who records it."""

    def tell(event):
        if event.stage == "quick":
            slowly.end()
            raise OSError("no room")

    jobs = graph(slow=[], quick=[], then=["quick"])
    scheduler = Scheduler(jobs, Room(0, 2), GpuPool(()), slowly, tell)
    with pytest.raises(OSError, match="no room"):
        scheduler.run(lambda: False)
    assert slowly.ended == ["quick", "slow"]
    assert scheduler.outcomes["slow"].status is Status.MADE
    assert scheduler.outcomes["then"].status is Status.STOPPED


@pytest.mark.parametrize("broken", [(GpuPool, "try_hold"), (threading.Thread, "start")])
def test_a_job_that_cannot_be_started_is_told_when_the_others_have_ended(
    broken, slowly, monkeypatch, tmp_path
):
    owner, name = broken
    right = getattr(owner, name)

    def once(self, *args):
        monkeypatch.setattr(owner, name, fail)
        return right(self, *args)

    def fail(*_):
        monkeypatch.setattr(owner, name, right)
        slowly.end()
        raise EnvironmentProblem("not to be had")

    monkeypatch.setattr(owner, name, once)
    jobs = [Job("slow", (), 1, 9.0), Job("other", (), 1, 1.0)]
    with pytest.raises(EnvironmentProblem):
        run(jobs, slowly, Room(2, 1), ("A", "B"), tmp_path)
    assert slowly.ended == ["slow"]


def test_a_defect_of_the_maker_is_raised_when_the_others_have_ended():
    ended = []

    def make(job, held):
        if job.name == "b":
            raise ZeroDivisionError("defect")
        ended.append(job.name)
        return Outcome(Status.MADE)

    with pytest.raises(ZeroDivisionError):
        run(graph(b=[], c=[]), make)
    assert ended == ["c"]
