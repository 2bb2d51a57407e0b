"""Runs side by side: the same results as one after the other, and errors that arrive."""

import dataclasses
import functools
import os
import signal
import time

import pytest

from t2t.errors import DataError, EnvironmentProblem, Preempted
from t2t.training.parallel import run_side_by_side, slots
from t2t.training.run import train_run

pytestmark = pytest.mark.slow


def write_slot(path, place):
    path.write_text(str(place.slot))


def fail(path, place):
    path.write_text("began")
    raise DataError("val.beton: damaged")


def wait(path, place):
    """Runs until it is asked to stop, as a training run does."""
    stopped = []
    signal.signal(signal.SIGTERM, lambda *_: stopped.append(True))
    path.write_text(str(os.getpid()))
    while not stopped:
        time.sleep(0.05)
    raise Preempted("saved")


def die(path, place):
    os.kill(os.getpid(), signal.SIGKILL)


def test_every_job_runs_once(tmp_path):
    paths = [tmp_path / str(n) for n in range(5)]
    run_side_by_side([functools.partial(write_slot, path) for path in paths], 2)
    assert all(path.read_text() in "0123" for path in paths)


def test_an_error_stops_the_others_and_is_raised(tmp_path):
    jobs = [functools.partial(wait, tmp_path / "a"), functools.partial(fail, tmp_path / "b")]
    with pytest.raises(DataError, match=r"val\.beton: damaged"):
        run_side_by_side(jobs, 2)


def test_a_killed_job_is_told(tmp_path):
    jobs = [functools.partial(die, tmp_path), functools.partial(write_slot, tmp_path / "x")]
    with pytest.raises(EnvironmentProblem, match="signal 9"):
        run_side_by_side(jobs, 2)


def test_being_stopped_stops_the_children(tmp_path):
    jobs = [functools.partial(wait, tmp_path / name) for name in "ab"]

    def stop_soon():
        if all((tmp_path / name).exists() for name in "ab"):
            signal.raise_signal(signal.SIGTERM)
        else:
            signal.setitimer(signal.ITIMER_REAL, 0.1)

    signal.signal(signal.SIGALRM, lambda *_: stop_soon())
    signal.setitimer(signal.ITIMER_REAL, 0.1)
    with pytest.raises(Preempted):
        run_side_by_side(jobs, 2)
    for name in "ab":
        with pytest.raises(ProcessLookupError):
            os.kill(int((tmp_path / name).read_text()), 0)


def test_slots_can_be_told(monkeypatch):
    monkeypatch.setenv("T2T_SLOTS", "3")
    assert slots(1) == 3
    monkeypatch.setenv("T2T_SLOTS", "many")
    with pytest.raises(EnvironmentProblem, match="T2T_SLOTS"):
        slots(1)
    monkeypatch.delenv("T2T_SLOTS")
    assert slots(10_000) == 1


def test_side_by_side_equals_one_after_the_other(config, shards, tmp_path):
    configs = [dataclasses.replace(config, seed=seed) for seed in (0, 1)]
    for way, number in (("one", 1), ("two", 2)):
        jobs = [
            functools.partial(
                train_run, each, shards, tmp_path / way / "work", tmp_path / way / each.label, {}
            )
            for each in configs
        ]
        run_side_by_side(jobs, number)
    for each in configs:
        for file in (tmp_path / "one" / each.label).iterdir():
            assert file.read_bytes() == (tmp_path / "two" / each.label / file.name).read_bytes()
