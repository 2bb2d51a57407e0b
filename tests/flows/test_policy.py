"""Which job starts next: longest way first, room kept for wide ones."""

import pytest

from pipelines.flows.jobs import Job, critical_minutes
from pipelines.flows.policy import Room, Running, expected_minutes, next_job


def job(name, minutes=1.0, gpus=1, needs=()):
    return Job(name, tuple(needs), gpus, minutes)


def test_critical_minutes_are_the_longest_chain():
    jobs = [job("a", 1), job("b", 5, needs=["a"]), job("c", 2, needs=["a"]), job("d", 1, 1, ["c"])]
    assert critical_minutes(jobs) == {"a": 6, "b": 5, "c": 3, "d": 1}


def test_the_longest_way_goes_first():
    ready = [job("short", 1), job("long", 9)]
    assert next_job(ready, [], Room(1, 1), critical_minutes(ready), 0).name == "long"


def test_a_wide_job_is_not_starved_by_narrow_ones():
    """Four GPUs, narrow jobs as far as the eye sees: a wide one starts when those now end."""
    wide = job("wide", 30, gpus=4)
    narrow = [job(f"n{i}", 10) for i in range(20)]
    running = [Running(job("x", 10), 2, 5.0)]
    priority = critical_minutes([wide, *narrow])
    room = Room(4, 1)
    assert next_job([wide, *narrow], running, room, priority, 0) is None  # 10 min > 5 min
    assert next_job([wide, *narrow], [], room, priority, 5.0) is wide


def test_what_is_done_in_time_may_use_a_reserved_gpu():
    wide, quick = job("wide", 30, gpus=4), job("quick", 3)
    running = [Running(job("x", 10), 2, 5.0)]
    priority = critical_minutes([wide, quick])
    assert next_job([wide, quick], running, Room(4, 1), priority, 0) is quick
    assert next_job([wide, quick], running, Room(4, 1), priority, 2.5) is None


def test_gpus_beyond_the_reserved_ones_are_free():
    wide, slow = job("wide", 30, gpus=3), job("slow", 20)
    running = [Running(job("x", 10), 2, 5.0)]  # at 5 min: 4 free, 3 wanted, one to spare
    priority = critical_minutes([wide, slow])
    assert next_job([wide, slow], running, Room(4, 1), priority, 0) is slow


def test_one_that_measures_time_runs_alone_and_holds_up_nobody():
    measure, other = Job("measure", (), 1, 1.0, alone=True), job("other", 9)
    priority = {"measure": 99, "other": 9, "more": 1}
    room = Room(4, 4)
    assert next_job([measure, other], [], room, priority, 0) is other
    assert next_job([measure], [Running(other, 1, 9.0)], room, priority, 0) is None
    assert next_job([measure], [], room, priority, 0) is measure
    assert next_job([job("more")], [Running(measure, 1, 1.0)], room, priority, 0) is None
    assert expected_minutes([measure, other, job("more", 5)], room) == 10


def test_jobs_without_gpus_have_places_of_their_own():
    wide, plain = job("wide", 30, gpus=2), job("plain", 60, gpus=0)
    running = [Running(job("x", 10), 1, 5.0)]
    priority = critical_minutes([wide, plain])
    assert next_job([wide, plain], running, Room(2, 1), priority, 0) is plain
    full = [*running, Running(plain, 0, 60.0)]
    assert (
        next_job([wide, job("other", 1, 0)], full, Room(2, 1), priority | {"other": 1}, 0) is None
    )


def test_without_gpus_every_job_takes_a_place():
    ready = [job("a", 1, gpus=4), job("b", 1, gpus=1)]
    running = [Running(job("x"), 0, 1.0)]
    assert next_job(ready, running, Room(0, 2), critical_minutes(ready), 0).name == "a"
    assert next_job(ready, [*running, *running], Room(0, 2), critical_minutes(ready), 0) is None


@pytest.mark.parametrize("places, minutes", [(1, 9.0), (2, 5.0), (3, 4.0)])
def test_expected_minutes(places, minutes):
    """One minute, three times two side by side, then two after the first of these."""
    jobs = [job("a", 1), *(job(f"b{i}", 2, needs=["a"]) for i in range(3))]
    jobs.append(job("c", 2 if places < 3 else 1, needs=["b0"]))
    assert expected_minutes(jobs, Room(0, places)) == minutes
