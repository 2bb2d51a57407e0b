"""A full disk at each writing stage: said, nothing half-written, and fine once there is room."""

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines import run as runner
from t2t.errors import EnvironmentProblem
from t2t.training import loop
from t2t.training import run as run_module
from t2t.training.run import train_run
from t2t.training.workspace import check_run
from tests.faults.full_disk import take_all_but

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600), pytest.mark.faults("full disk")]
# In the short and in the full form.
COUNTS = {
    "prepared data": (3, 12),
    "a shard": (3, 12),
    "a checkpoint": (3, 12),
    "metrics": (3, 12),
    "a report": (2, 12),
}


@contextlib.contextmanager
def small_disk(place: Path, size: str) -> Iterator[None]:
    """A file system of `size` at `place`; skips the test where none may be mounted."""
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(place)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("no file system may be mounted here (it needs root)")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


@pytest.mark.parametrize("work", COUNTS)
def test_a_full_disk_is_told_and_breaks_nothing(work, all_faults, inject, tmp_path):
    with small_disk(tmp_path / "work", "24m"):
        faults = inject("fill", work, COUNTS[work][all_faults])
        assert any(fault["noticed"] for fault in faults), "there was room enough"


@pytest.mark.parametrize("size", ["64k", "700k", "1500k"])
def test_training_on_a_full_disk_goes_on_when_there_is_room(config, shards, tmp_path, size, tally):
    work, out = tmp_path / "disk", tmp_path / "out"
    with small_disk(work, size):
        with pytest.raises(EnvironmentProblem, match=r"no room left on the disk .*free some space"):
            train_run(config, shards, work, out, {})
        assert not list(work.rglob("*.partial")) and not out.exists()
        subprocess.run(["mount", "-o", "remount,size=32m", str(work)], check=True)
        train_run(config, shards, work, out, {})
    train_run(config, shards, tmp_path / "undisturbed", tmp_path / "right", {})
    for path in out.iterdir():
        assert path.read_bytes() == (tmp_path / "right" / path.name).read_bytes(), path.name
    tally.add(True)


def test_a_disk_that_fills_up_during_the_last_step_costs_no_training(
    config, shards, tmp_path, monkeypatch
):
    """Every checkpoint had room, and the finished weights have none."""
    work, out, filler = tmp_path / "disk", tmp_path / "out", tmp_path / "disk" / "filler"
    finish = run_module._finish

    def filled(*given):
        take_all_but(0, filler)
        finish(*given)

    with small_disk(work, "32m"):
        with monkeypatch.context() as patch:
            patch.setattr(run_module, "_finish", filled)
            with pytest.raises(EnvironmentProblem, match="no room left on the disk"):
                train_run(config, shards, work, out, {})
        assert list(work.glob("*/step_000000024-*.pt")) and not out.exists()
        filler.unlink()
        monkeypatch.setattr(loop, "train_step", None)  # nothing is trained again
        train_run(config, shards, work, out, {})
    check_run(out)


def test_the_runner_explains_a_full_disk_of_any_stage(monkeypatch, capsys):
    def full(verb, arguments):
        raise OSError(28, "No space left on device", "reports/digits/table.md")

    monkeypatch.setattr(runner, "run_stage", full)
    monkeypatch.setattr(runner, "leave_with_parent", lambda: None)
    monkeypatch.setattr(runner.sys, "argv", ["run", "report"])
    assert runner.main() == 4
    said = capsys.readouterr().err
    assert said.startswith("report: reports/digits/table.md: no room left on the disk")
    assert said.count("\n") == 1 and "run it again" in said
