"""Runs side by side: the same results as one after the other, and errors that arrive."""

import dataclasses
import functools
import os
import signal
import time

import pytest
import torch

from t2t.data.mixing import parts
from t2t.errors import DataError, EnvironmentProblem, Preempted
from t2t.training import run as run_module
from t2t.training.devices import Place
from t2t.training.inputs import inputs_of
from t2t.training.launch import GRACE_S, run_on
from t2t.training.parallel import run_side_by_side, slots
from t2t.training.passes import most_ranks
from t2t.training.run import train_run
from t2t.training.stopping import stop_on_signal

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


def begin(path, place):
    """Has not come to where being asked to stop is answered."""
    path.write_text(str(os.getpid()))
    time.sleep(60)


def save_late(folder):
    """A rank that takes a while to save."""
    path = folder / os.environ["RANK"]
    with stop_on_signal() as stop:
        path.write_text(str(os.getpid()))
        while not stop:
            time.sleep(0.05)
    time.sleep(1)
    path.with_suffix(".saved").touch()
    raise Preempted("saved")


def wait_in_several(folder, place):
    folder.mkdir()
    run_on(place.processes, functools.partial(save_late, folder), folder.name)


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


def stop_once_there_are(paths):
    """Has this process sent SIGTERM as soon as all of `paths` are written."""

    def look():
        if all(path.exists() and path.read_text() for path in paths):
            signal.raise_signal(signal.SIGTERM)
        else:
            signal.setitimer(signal.ITIMER_REAL, 0.1)

    signal.signal(signal.SIGALRM, lambda *_: look())
    signal.setitimer(signal.ITIMER_REAL, 0.1)


def assert_gone(paths):
    for path in paths:
        with pytest.raises(ProcessLookupError):
            os.kill(int(path.read_text()), 0)


def test_being_stopped_stops_the_children(tmp_path):
    paths = [tmp_path / name for name in "ab"]
    stop_once_there_are(paths)
    with pytest.raises(Preempted):
        run_side_by_side([functools.partial(wait, path) for path in paths], 2)
    assert_gone(paths)


def test_a_child_stopped_while_it_starts_is_no_error(tmp_path):
    paths = [tmp_path / name for name in "ab"]
    stop_once_there_are(paths)
    with pytest.raises(Preempted, match="run again"):
        run_side_by_side([functools.partial(begin, path) for path in paths], 2)
    assert_gone(paths)


def test_a_signal_while_a_run_starts_or_ends_is_answered(config, shards, tmp_path, monkeypatch):
    def unheard(*_):
        raise AssertionError("SIGTERM would have ended the process")

    def signalled(*args):
        signal.raise_signal(signal.SIGTERM)
        return inputs_of(*args)

    def run(place):
        train_run(config, shards, tmp_path / "work", tmp_path / "out", {}, place)

    before = signal.signal(signal.SIGTERM, unheard)
    with monkeypatch.context() as patch:
        patch.setattr(run_module, "inputs_of", signalled)
        with pytest.raises(Preempted, match="SIGTERM at step 1,"):
            run_side_by_side([run, pytest.fail], 1)
    run_side_by_side([run], 1)
    with monkeypatch.context() as patch:
        patch.setattr(run_module, "inputs_of", signalled)
        with pytest.raises(Preempted, match="stopped by SIGTERM"):
            run_side_by_side([run, pytest.fail], 1)
    assert signal.getsignal(signal.SIGTERM) is unheard
    signal.signal(signal.SIGTERM, before)


def test_being_stopped_waits_until_every_rank_of_every_job_has_saved(tmp_path, monkeypatch):
    monkeypatch.setenv("T2T_PROCESSES", "2")
    paths = [tmp_path / name / rank for name in "ab" for rank in "01"]
    stop_once_there_are(paths)
    with pytest.raises(Preempted):
        run_side_by_side([functools.partial(wait_in_several, tmp_path / name) for name in "ab"], 4)
    assert all(path.with_suffix(".saved").exists() for path in paths)
    assert_gone(paths)


def test_a_stopped_job_of_several_ranks_ends_well_before_its_grace(tmp_path):
    paths = [tmp_path / "a" / rank for rank in "01"]
    stop_once_there_are(paths)
    began = time.monotonic()
    with pytest.raises(Preempted):
        wait_in_several(tmp_path / "a", Place(0, 2))
    assert time.monotonic() - began < GRACE_S / 2
    assert_gone(paths)


def test_slots_can_be_told(monkeypatch):
    monkeypatch.setenv("T2T_SLOTS", "3")
    assert slots(1) == 3
    monkeypatch.setenv("T2T_SLOTS", "many")
    with pytest.raises(EnvironmentProblem, match="T2T_SLOTS"):
        slots(1)
    monkeypatch.delenv("T2T_SLOTS")
    assert slots(10_000) == 1


def test_a_run_has_no_more_gpus_than_its_batch_can_be_shared_by(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.delenv("T2T_PROCESSES", raising=False)
    given = []
    for batch_size in (8, 64, 256, 512):
        run_side_by_side([given.append], 8, most_ranks(batch_size))
        parts(batch_size, 64, given[-1].processes)
    assert [place.processes for place in given] == [1, 1, 4, 8]


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
