"""A full disk at each writing stage: said, nothing half-written, and fine once there is room."""

import contextlib
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines import run as runner
from pipelines import settled
from pipelines.lock_file import check_lock
from t2t.errors import EnvironmentProblem
from t2t.training import loop
from t2t.training import run as run_module
from t2t.training.run import train_run
from t2t.training.workspace import check_run
from tests.faults.full_disk import take_all_but
from tests.flows.stubs import Stub

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


FOLDER = "mkdir -p out/d && for i in 1 2 3; do head -c 400000 /dev/urandom > out/d/$i; done"


@pytest.mark.filterwarnings("ignore:_NoneStep.value:DeprecationWarning")
@pytest.mark.parametrize("remedy", ["repro", "commit"])
def test_what_the_cache_did_not_take_is_told_after_dvc_repro(remedy, tmp_path, monkeypatch, capsys):
    """DVC itself ends with 0 and writes dvc.lock."""
    stub = Stub.created(
        tmp_path / "stub",
        {
            "well": {"cmd": "mkdir -p out && cp a out/well", "deps": ["a"], "outs": ["out/well"]},
            "big": {"cmd": FOLDER, "deps": ["out/well"], "outs": ["out/d"]},
        },
    )
    monkeypatch.chdir(stub.folder)
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(stub.folder / ".site_cache"))
    cache = stub.folder / ".dvc" / "cache"
    with small_disk(cache, "900k"):
        stub.dvc("repro")
        before = stub.lock()
        assert settled.main() == 4
        said = capsys.readouterr().err
        assert said.count("\n") == 1 and "well" not in said
        assert "has: big (out/d); is the disk full?" in said
        subprocess.run(["mount", "-o", "remount,size=32m", str(cache)], check=True)
        stub.dvc(remedy)
        assert settled.main() == 0
        assert (stub.lock() == before) == (remedy == "commit"), "which runs nothing"


def test_an_empty_lock_of_a_full_disk_is_mended(tmp_path):
    """Every later command of DVC would end with "validation failed"."""
    with small_disk(tmp_path / "disk", "32m"):
        stub = Stub.created(
            tmp_path / "disk" / "stub", {"big": {"cmd": FOLDER, "deps": ["a"], "outs": ["out/d"]}}
        )
        site = stub.folder / ".site_cache"
        if site.exists():
            shutil.rmtree(site)
        (tmp_path / "site").mkdir()
        site.symlink_to(tmp_path / "site")  # DVC's databases have room
        filler = tmp_path / "disk" / "filler"
        take_all_but(1_300_000, filler)
        with pytest.raises(AssertionError, match="No space left on device"):
            stub.dvc("repro")
        filler.unlink()
        assert not stub.lock()
        with pytest.raises(AssertionError, match="validation failed"):
            stub.dvc("repro")
        assert "dvc.lock was empty" in check_lock(stub.folder)
        stub.dvc("repro")
        assert len(list((stub.folder / ".dvc/cache/files").rglob("*.dir"))) == 1
