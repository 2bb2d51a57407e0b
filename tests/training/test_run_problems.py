"""Runs that cannot go on: what is said, and that nothing is lost or saved that is wrong."""

import math
import signal
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch

from t2t.errors import ConfigError, Diverged, EnvironmentProblem
from t2t.training import loop as loop_module
from t2t.training import run as run_module
from t2t.training.journal import read_journal
from t2t.training.ranks import Ranks
from t2t.training.record import JOURNAL
from t2t.training.run import train_run
from tests.runs import changed

pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parents[2]


def test_divergence_names_step_and_rate(config, shards, tmp_path, monkeypatch):
    monkeypatch.setattr(loop_module, "train_step", not_a_number)
    text = r"loss is nan at step 0, learning rate 1e-06; no checkpoint was saved before"
    with pytest.raises(Diverged, match=text):
        train_run(config, shards, tmp_path / "work", tmp_path / "out", {})
    assert not list(tmp_path.glob("work/*/step_*"))


def not_a_number(state, *_, **__):
    state.step += 1
    return torch.tensor(float("nan"))


@pytest.mark.faults("full disk")
def test_a_full_disk_is_explained_and_loses_no_checkpoint(config, shards, tmp_path):
    """A limit on the size of a file stands for the disk."""
    script = tmp_path / "limited.py"
    script.write_text(LIMITED.format(root=str(ROOT), shards=str(shards), folder=str(tmp_path)))
    result = subprocess.run([sys.executable, str(script)], capture_output=True, text=True)
    assert result.returncode == 4, result.stderr
    assert "no room left on the disk" in result.stdout
    (kept,) = tmp_path.glob("work/*/step_*.pt")
    assert not list(tmp_path.glob("work/*/*.partial"))
    train_run(config, shards, tmp_path / "work", tmp_path / "out", {})
    assert kept.name.startswith("step_000000006") and not kept.exists()


LIMITED = """
import resource, signal, sys
from pathlib import Path
sys.path[:0] = [{root!r}]
from t2t.errors import T2TError
from t2t.training import loop
from t2t.training.run import train_run
from tests.runs import short_config

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
real = loop.save_checkpoint

def save(folder, step, content):
    if step > 6:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
    return real(folder, step, content)

loop.save_checkpoint = save
folder = Path({folder!r})
try:
    train_run(short_config(), Path({shards!r}), folder / "work", folder / "out", {{}})
except T2TError as error:
    print(error)
    sys.exit(error.exit_code)
"""


def test_too_little_memory_names_a_number_that_fits(config, shards, tmp_path, monkeypatch):
    def too_large(*_, **__):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(loop_module, "train_step", too_large)
    with pytest.raises(EnvironmentProblem, match="memory for 16 images .* T2T_IMAGES_PER_PASS=8"):
        train_run(config, shards, tmp_path / "work", tmp_path / "out", {})


@pytest.mark.parametrize("step", [9, 12], ids=["within an epoch", "last of an epoch"])
def test_weights_that_the_last_step_before_a_checkpoint_ruins_are_not_saved(
    config, shards, tmp_path, monkeypatch, step
):
    real = loop_module.train_step

    def ruining(state, *args, **kwargs):
        loss = real(state, *args, **kwargs)
        if state.step == step:
            with torch.no_grad():
                state.model.head.weight[3, 5] = math.nan
            signal.raise_signal(signal.SIGTERM)
        return loss

    monkeypatch.setattr(loop_module, "train_step", ruining)
    text = f"weights are no numbers at step {step}, .*step_000000006"
    with pytest.raises(Diverged, match=text):
        train_run(config, shards, tmp_path / "work", tmp_path / "out", {})
    (saved,) = tmp_path.glob("work/*/step_*.pt")
    assert saved.name.startswith("step_000000006")
    (journal,) = tmp_path.glob(f"work/*/{JOURNAL}")
    assert [event["step"] for event in read_journal(journal)] == [6]


def test_fewer_images_than_a_batch_are_refused(config, shards, tmp_path):
    small = changed(config, train_fraction=0.5, batch_size=64)
    with pytest.raises(
        ConfigError, match=r"batch_size 64: .* 51 training images; .*train_fraction"
    ):
        train_run(small, shards, tmp_path / "work", tmp_path / "out", {})


def test_too_little_memory_while_ranks_settle_names_a_number_too(
    config, shards, tmp_path, monkeypatch
):
    def too_large(*_, **__):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(run_module, "settle_buckets", too_large)
    monkeypatch.setattr(Ranks, "share", lambda self, network, device: network)
    monkeypatch.setattr(run_module, "joined", lambda device: nullcontext(Ranks(0, 2, None)))
    with pytest.raises(EnvironmentProblem, match="memory for 8 images .* T2T_IMAGES_PER_PASS=4"):
        train_run(config, shards, tmp_path / "work", tmp_path / "out", {})


def test_too_little_memory_for_validation_names_a_number_too(config, shards, tmp_path, monkeypatch):
    def too_large(*_, **__):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(loop_module, "validate", too_large)
    with pytest.raises(EnvironmentProblem, match="memory for 256 images .*T2T_IMAGES_PER_PASS=128"):
        train_run(config, shards, tmp_path / "work", tmp_path / "out", {})
