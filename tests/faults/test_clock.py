"""A clock that is set back, or runs backwards, while everything goes on."""

import ast
import itertools
import os
import time
from pathlib import Path

import pytest
import torch

from pipelines.flows.folder import FLOWS, new_folder
from t2t.training import loop
from t2t.training.checkpoint import load_checkpoint, save_checkpoint
from t2t.training.journal import Journal, read_journal
from t2t.training.record import JOURNAL
from t2t.training.run import train_run

pytestmark = [pytest.mark.slow, pytest.mark.faults("clock set back")]
ROOT = Path(__file__).resolve().parents[2]
DAY_NS = 86_400 * 10**9
SHOWN, SAME = "it is only shown", "versions of a file are told apart, none is called the newer"
# Who may ask for the time of day or of a file, and why that does no harm.
MAY_ASK = {
    ("pipelines/flows/courier.py", "st_mtime_ns"): SAME,
    ("pipelines/flows/display.py", "strftime"): SHOWN,
    ("pipelines/flows/display.py", "time"): SHOWN,
    ("pipelines/flows/folder.py", "now"): "it is shown, and begins a name that ends in the process",
    ("pipelines/flows/outcome.py", "time"): SHOWN,
    ("pipelines/guard.py", "st_mtime_ns"): SAME,
    ("pipelines/stages/measure.py", "strftime"): SHOWN,
    ("pipelines/stored_runs.py", "st_mtime_ns"): SHOWN,
    ("t2t/data/verify.py", "st_mtime_ns"): SAME,
    ("t2t/tracking/delivery.py", "st_mtime_ns"): SAME,
    ("t2t/training/journal.py", "time_ns"): SHOWN,
    ("t2t/training/record.py", "time_ns"): SHOWN,
}
OF_TIME = {"time", "time_ns", "strftime", "localtime", "gmtime", "ctime", "clock_gettime"}
OF_ANYTHING = {"now", "utcnow", "today", "getmtime", "getctime"}
OF_ANYTHING |= {f"st_{kind}time{unit}" for kind in "acm" for unit in ("", "_ns")}


def run_backwards(patch, start_ns: int) -> None:
    """Each look at the clock finds it an hour earlier than the one before."""
    looks = itertools.count()
    patch.setattr(time, "time_ns", lambda: start_ns - next(looks) * DAY_NS // 24)
    patch.setattr(time, "time", lambda: (start_ns - next(looks) * DAY_NS // 24) / 1e9)


def test_a_run_ends_the_same_and_its_journal_is_whole(config, shards, tmp_path, monkeypatch):
    train_run(config, shards, tmp_path / "right", tmp_path / "expected", {})
    now, real = time.time_ns(), loop.train_step

    def interrupted(state, *args, **kwargs):
        if state.step == 13:
            raise KeyboardInterrupt
        return real(state, *args, **kwargs)

    with monkeypatch.context() as patch:
        run_backwards(patch, now)
        patch.setattr(loop, "train_step", interrupted)
        with pytest.raises(KeyboardInterrupt):
            train_run(config, shards, tmp_path / "work", tmp_path / "out", {})
    with monkeypatch.context() as patch:
        run_backwards(patch, now - 365 * DAY_NS)
        train_run(config, shards, tmp_path / "work", tmp_path / "out", {})
    for path in (tmp_path / "expected").iterdir():
        assert (tmp_path / "out" / path.name).read_bytes() == path.read_bytes(), path.name
    (journal,) = tmp_path.glob(f"work/*/{JOURNAL}")
    events = list(read_journal(journal))
    assert [event["step"] for event in events] == [6, 12, 18, 24]
    times = [event["time_ms"] for event in events]
    assert times == sorted(times, reverse=True)


def test_a_step_is_written_once_whatever_the_time(tmp_path, monkeypatch):
    journal = Journal(tmp_path / JOURNAL)
    journal.append("epoch", 1, metrics={})
    run_backwards(monkeypatch, 0)
    for again in (journal, Journal(tmp_path / JOURNAL)):
        again.append("epoch", 1, metrics={})
    assert len(list(read_journal(tmp_path / JOURNAL))) == 1


def test_the_newest_checkpoint_is_the_latest_step_whatever_its_time(tmp_path):
    for step in (1, 2):
        path = save_checkpoint(tmp_path, step, {"state": torch.tensor(step)})
        os.utime(path, ns=(10**18 - step * DAY_NS,) * 2)
    stored = load_checkpoint(tmp_path)
    assert stored is not None and stored["state"] == 2


def test_a_flow_does_not_clear_away_its_own_folder(tmp_path):
    later = [tmp_path / FLOWS / f"2999-01-01T00-00-00.{number}-1" for number in range(100, 125)]
    for path in later:
        path.mkdir(parents=True)
    own = new_folder(tmp_path)
    assert own.is_dir()
    assert set((tmp_path / FLOWS).iterdir()) == {own, *later[-19:]}


EXAMPLES = {
    "time.time() - began": {"time"},
    "from time import monotonic, time_ns": {"time_ns"},
    "datetime.datetime.now(UTC)": {"now"},
    "path.stat().st_mtime > began_s": {"st_mtime"},
    "os.path.getmtime(path)": {"getmtime"},
    "time.monotonic(); event.time": set(),
}


def test_nothing_else_asks_for_the_time_of_day():
    """Limits, retries and locks go by a clock that nobody sets."""
    for source, names in EXAMPLES.items():
        assert asked(source) == names, source
    asking = {
        (str(path.relative_to(ROOT)), what)
        for package in ("t2t", "pipelines")
        for path in ROOT.glob(f"{package}/**/*.py")
        for what in asked(path.read_text())
    }
    assert asking == set(MAY_ASK)


def asked(source: str) -> set[str]:
    """By which names a module asks for the time of day or of a file."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.module == "time":
            found |= {alias.name for alias in node.names} & OF_TIME
        elif isinstance(node, ast.Attribute):
            of_time = isinstance(node.value, ast.Name) and node.value.id == "time"
            found |= {node.attr} & (OF_TIME | OF_ANYTHING if of_time else OF_ANYTHING)
    return found
