"""A clock that is set back, or runs backwards, while everything goes on."""

import ast
import itertools
import os
import time
from pathlib import Path

import pytest
import torch

from t2t.training import loop
from t2t.training.checkpoint import load_checkpoint, save_checkpoint
from t2t.training.journal import Journal, read_journal
from t2t.training.record import JOURNAL
from t2t.training.run import train_run

pytestmark = [pytest.mark.slow, pytest.mark.faults("clock set back")]
ROOT = Path(__file__).resolve().parents[2]
DAY_NS = 86_400 * 10**9
# Who may ask for the time of day, which is only shown.
MAY_ASK = {"t2t/training/journal.py", "t2t/training/record.py"}


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


def test_nothing_else_asks_for_the_time_of_day():
    """Limits, retries and locks go by a clock that nobody sets."""
    asking = {
        str(path.relative_to(ROOT))
        for path in ROOT.glob("t2t/**/*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and (node.value.id, node.attr) in {("time", "time"), ("time", "time_ns")}
    }
    assert asking == MAY_ASK
