"""The counts of the faults: nothing that failed, was missed or did no harm passes for one that
held."""

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.faults.kills import TRIES_PER_KILL, Work, kill
from tests.faults.mutation import MUTATIONS, mutate

ROOT = Path(__file__).resolve().parents[2]
HEAD = """
import pytest
pytestmark = pytest.mark.faults("kind")
@pytest.fixture
def broken():
    raise OSError
"""


@pytest.mark.parametrize(
    ("test", "line", "code"),
    [
        ("def test(): pass", "| kind | 1 | 1 |", 0),
        ("def test(): assert False", "| kind | 1 | 0 |", 1),
        ("def test(broken): pass", "| kind | 1 | 0 |", 1),
        ("def test(tally): tally.add(True); tally.add(True)", "| kind | 2 | 2 |", 0),
        ("def test(tally): tally.add(True); assert False", "| kind | 2 | 1 |", 1),
        ("def test(tally): tally.add(False); assert False", "| kind | 1 | 0 |", 1),
        ("def test(tally): tally.add(False)", "| kind | 1 | 0 |", 1),
        ("def test(tally): tally.plan(1); tally.add(True)", "| kind | 1 | 1 |", 0),
        (
            "def test(tally): tally.plan(3); tally.add(True)",
            "| kind (2 planned and not injected) | 1 | 1 |",
            1,
        ),
        ("def test(tally): tally.plan(1)", "| kind (1 planned and not injected) | 0 | 0 |", 1),
        ("def test(): pytest.skip('')", "| kind (1 skipped) | 0 | 0 |", 0),
    ],
)
def test_what_is_counted(test, line, code, tmp_path):
    (tmp_path / "test_it.py").write_text(HEAD + test + "\n")
    words = ["-m", "pytest", "-c", os.devnull, "--rootdir", tmp_path, "-p", "tests.faults.tally"]
    done = subprocess.run(
        [sys.executable, *words, "--all-faults", "-p", "no:cacheprovider", tmp_path / "test_it.py"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert line in done.stdout, done.stdout + done.stderr
    assert done.returncode == code


def writing(seconds: float) -> Work:
    def write(folder: Path, version: int) -> None:
        time.sleep(seconds if version < 2 or version % 2 else 0)
        partial = folder / f"{os.getpid()}.new"
        partial.write_text(f"{version}")
        partial.rename(folder / "file")

    return Work(write, lambda folder: {(folder / "file").read_text()})


def test_a_child_that_has_ended_is_no_kill(tmp_path):
    """Every second one ends at once."""
    faults = list(kill(writing(0.1), tmp_path, 4))
    assert len(faults) == 4 and all(fault["held"] for fault in faults)
    last = int((tmp_path / "file").read_text())
    assert last > 5, "some had ended"


def test_kills_that_come_too_late_are_not_waited_for_for_ever(tmp_path, monkeypatch):
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    monkeypatch.setattr("tests.faults.kills._killed", lambda *given: False)
    with pytest.raises(RuntimeError, match="0 of 2 children"):
        list(kill(writing(0), tmp_path, 2))
    assert TRIES_PER_KILL > 1


def test_a_child_that_fails_is_no_kill(tmp_path):
    def write(folder: Path, version: int) -> None:
        if version > 1:
            raise OSError
        time.sleep(0.2)

    with pytest.raises(RuntimeError, match="version 2 failed"):
        list(kill(Work(write, lambda folder: {0}), tmp_path, 1))


def test_every_mutant_differs(tmp_path):
    path, twin = tmp_path / "a", tmp_path / "b"
    for seed in range(300):
        data = b"\0" * 20 + b"7"  # which many a mutation leaves as it is
        path.write_bytes(data)
        twin.write_bytes(data)
        mutate(path, [twin], random.Random(seed))
        assert path.read_bytes() != data
    assert any(m(data, random.Random(0)) == data for m in MUTATIONS), "or this proves nothing"


def test_a_file_that_no_draw_changes_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr("tests.faults.mutation.MUTATIONS", [lambda data, draws: data])
    (tmp_path / "a").write_bytes(b"x")
    with pytest.raises(RuntimeError, match="a: no draw of"):
        mutate(tmp_path / "a", [], random.Random(0))
