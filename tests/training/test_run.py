"""Whole runs, seconds long: exact repeats, exact resumes, and what must never resume."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from t2t.errors import CheckpointError, Preempted
from t2t.training import loop as loop_module
from t2t.training import run as run_module
from t2t.training.checkpoint import save_checkpoint
from t2t.training.journal import read_journal
from t2t.training.record import JOURNAL
from t2t.training.run import train_run
from t2t.training.workspace import RESULT, RUN_FILES, RUN_SEAL
from tests.runs import changed

pytestmark = pytest.mark.slow
FILES = {*RUN_FILES, RUN_SEAL}
ROOT = Path(__file__).resolve().parents[2]


def contents(out: Path) -> dict[str, bytes]:
    assert {path.name for path in out.iterdir()} == FILES
    return {path.name: path.read_bytes() for path in out.iterdir()}


@pytest.fixture(scope="session")
def undisturbed(shards, tmp_path_factory):
    """What a run gives that nobody touches, by recipe change."""
    made = {}

    def result(config):
        key = repr(config)
        if key not in made:
            folder = tmp_path_factory.mktemp("undisturbed")
            train_run(config, shards, folder / "work", folder / "out", {})
            made[key] = contents(folder / "out")
        return made[key]

    return result


def interrupt_at(monkeypatch, step):
    """Raises in the middle of the step, as a kill would leave things."""
    real = loop_module.train_step

    def failing(state, *args, **kwargs):
        if state.step == step:
            raise KeyboardInterrupt
        return real(state, *args, **kwargs)

    monkeypatch.setattr(loop_module, "train_step", failing)


def test_same_run_twice_gives_the_same_bytes(config, shards, tmp_path, undisturbed):
    train_run(config, shards, tmp_path / "work", tmp_path / "out", {"git_commit": "other"})
    assert contents(tmp_path / "out") == undisturbed(config)


def test_other_seeds_differ(config, shards, tmp_path, undisturbed):
    other = dataclasses.replace(config, seed=1)
    train_run(other, shards, tmp_path / "work", tmp_path / "out", {})
    assert contents(tmp_path / "out")["raw.safetensors"] != undisturbed(config)["raw.safetensors"]


@pytest.mark.parametrize("step", [1, 6, 7, 12, 23])
def test_resume_after_a_kill_is_bitwise(config, shards, tmp_path, undisturbed, step, monkeypatch):
    """100 images in batches of 16 are 6 steps an epoch, 24 in all."""
    with monkeypatch.context() as patch:
        interrupt_at(patch, step)
        with pytest.raises(KeyboardInterrupt):
            train_run(config, shards, tmp_path / "work", tmp_path / "out", {})
    assert not (tmp_path / "out").exists()
    train_run(config, shards, tmp_path / "work", tmp_path / "out", {})
    assert contents(tmp_path / "out") == undisturbed(config)


@pytest.mark.parametrize("step", [2, 6, 15, 24])
def test_stopping_on_a_signal_saves_the_very_step(
    config, shards, tmp_path, undisturbed, step, monkeypatch
):
    real = loop_module.train_step

    def signalled(state, *args, **kwargs):
        loss = real(state, *args, **kwargs)
        if state.step == step:
            signal.raise_signal(signal.SIGTERM)
        return loss

    with monkeypatch.context() as patch:
        patch.setattr(loop_module, "train_step", signalled)
        if step == 24:  # nothing is left to do, so the run ends
            train_run(config, shards, tmp_path / "work", tmp_path / "out", {})
        else:
            with pytest.raises(Preempted, match=f"SIGTERM at step {step}"):
                train_run(config, shards, tmp_path / "work", tmp_path / "out", {})
    steps = []
    monkeypatch.setattr(
        loop_module,
        "train_step",
        lambda state, *a, **k: steps.append(state.step) or real(state, *a, **k),
    )
    train_run(config, shards, tmp_path / "work", tmp_path / "out", {})
    assert steps == list(range(step, 24))
    assert contents(tmp_path / "out") == undisturbed(config)


def test_finished_run_is_not_trained_again(config, shards, tmp_path, monkeypatch, undisturbed):
    train_run(config, shards, tmp_path / "work", tmp_path / "first", {})
    interrupt_at(monkeypatch, 0)
    train_run(config, shards, tmp_path / "work", tmp_path / "again", {})
    assert contents(tmp_path / "again") == undisturbed(config)


def test_a_kill_after_the_result_leaves_no_checkpoint_for_good(
    config, shards, tmp_path, monkeypatch
):
    def killed(_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(run_module, "delete_checkpoints", killed)
        with pytest.raises(KeyboardInterrupt):
            train_run(config, shards, tmp_path / "work", tmp_path / "out", {})
    assert list(tmp_path.glob("work/*/step_*"))
    train_run(config, shards, tmp_path / "work", tmp_path / "out", {})
    assert not list(tmp_path.glob("work/*/step_*"))


def test_damaged_result_is_refused(config, shards, tmp_path):
    train_run(config, shards, tmp_path / "work", tmp_path / "out", {})
    (weights,) = tmp_path.glob(f"work/*/{RESULT}/ema.safetensors")
    weights.write_bytes(weights.read_bytes()[:-1] + b"?")
    with pytest.raises(CheckpointError, match=r"ema\.safetensors: damaged"):
        train_run(config, shards, tmp_path / "work", tmp_path / "out", {})


@pytest.mark.parametrize(
    "change", [{"lr": 3e-3}, {"epochs": 4}, {"drop_path": 0.2}, {"mix_prob": 0.5}]
)
def test_changed_recipe_never_resumes(config, shards, tmp_path, monkeypatch, change):
    with monkeypatch.context() as patch:
        interrupt_at(patch, 13)
        with pytest.raises(KeyboardInterrupt):
            train_run(config, shards, tmp_path / "work", tmp_path / "out", {})
    first_steps = []

    def stop_at_once(state, *_, **__):
        first_steps.append(state.step)
        raise KeyboardInterrupt

    monkeypatch.setattr(loop_module, "train_step", stop_at_once)
    with pytest.raises(KeyboardInterrupt):
        train_run(changed(config, **change), shards, tmp_path / "work", tmp_path / "out", {})
    assert first_steps == [0]


def test_learns_a_hundred_images(config, shards, tmp_path):
    recipe = dict(epochs=40, cooldown_epochs=0, batch_size=20, mix_prob=0.0, erase_prob=0.0)
    recipe |= dict(label_smoothing=0.0, drop_path=0.0, crop_scale=(1.0, 1.0), crop_ratio=(1.0, 1.0))
    train_run(changed(config, **recipe), shards, tmp_path / "work", tmp_path / "out", {})
    lines = (tmp_path / "out" / "metrics.jsonl").read_text().splitlines()
    first, last = json.loads(lines[0]), json.loads(lines[-1])
    assert last["train_loss"] < 0.2 < first["train_loss"]


def test_average_is_not_the_initial_weights(undisturbed, config, tmp_path):
    files = undisturbed(config)
    for name in ("ema", "raw"):
        (tmp_path / name).write_bytes(files[f"{name}.safetensors"])
    average, raw = load_file(tmp_path / "ema"), load_file(tmp_path / "raw")
    distance = torch.linalg.norm(average["head.weight"] - raw["head.weight"])
    assert 0 < distance < 0.5 * torch.linalg.norm(raw["head.weight"])


def test_journal_has_every_epoch_once_with_speed(config, shards, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        interrupt_at(patch, 20)
        with pytest.raises(KeyboardInterrupt):
            train_run(config, shards, tmp_path / "work", tmp_path / "out", {})
    train_run(config, shards, tmp_path / "work", tmp_path / "out", {})
    (journal,) = tmp_path.glob(f"work/*/{JOURNAL}")
    events = list(read_journal(journal))
    assert [event["step"] for event in events] == [6, 12, 18, 24]
    assert all(event["timing"]["images_per_s"] > 0 for event in events)


def flipped(content: bytes) -> bytes:
    return bytes([*content[:30], content[30] ^ 1, *content[31:]])


def without_first_line(content: bytes) -> bytes:
    return content[content.index(b"\n") + 1 :]


@pytest.mark.parametrize("step", [15, 20], ids=["within an epoch", "another epoch"])
@pytest.mark.parametrize("damage", [flipped, without_first_line, lambda content: b"", None])
def test_a_damaged_journal_costs_nothing_while_a_checkpoint_is_there(
    config, shards, tmp_path, undisturbed, monkeypatch, step, damage
):
    with monkeypatch.context() as patch:
        interrupt_at(patch, step)
        with pytest.raises(KeyboardInterrupt):
            train_run(config, shards, tmp_path / "work", tmp_path / "out", {})
    (journal,) = tmp_path.glob(f"work/*/{JOURNAL}")
    sound, first_steps = journal.read_bytes(), []
    if damage is None:
        journal.unlink()
    else:
        journal.write_bytes(damage(sound))
    real = loop_module.train_step
    monkeypatch.setattr(
        loop_module,
        "train_step",
        lambda state, *a, **k: first_steps.append(state.step) or real(state, *a, **k),
    )
    text = rf"{JOURNAL}: (line 1 is damaged|has lost lines).*the checkpoint's copy"
    with pytest.warns(UserWarning, match=text):
        train_run(config, shards, tmp_path / "work", tmp_path / "out", {})
    assert first_steps[0] == step // 6 * 6
    assert contents(tmp_path / "out") == undisturbed(config)
    assert journal.read_bytes().startswith(sound)
    assert [event["step"] for event in read_journal(journal)] == [6, 12, 18, 24]
    if damage is not None:
        assert journal.with_name(f"{JOURNAL}.damaged").read_bytes() == damage(sound)


def test_a_journal_line_behind_the_checkpoint_may_be_damaged_too(
    config, shards, tmp_path, undisturbed, monkeypatch
):
    with monkeypatch.context() as patch:
        patch.setattr(loop_module, "save_checkpoint", killed_at(12))
        with pytest.raises(KeyboardInterrupt):
            train_run(config, shards, tmp_path / "work", tmp_path / "out", {})
    (journal,) = tmp_path.glob(f"work/*/{JOURNAL}")
    first, second = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(first + flipped(second))
    with pytest.warns(UserWarning, match="line 2 is damaged"):
        train_run(config, shards, tmp_path / "work", tmp_path / "out", {})
    assert contents(tmp_path / "out") == undisturbed(config)
    assert journal.read_bytes().startswith(first)


def killed_at(step):
    def save(folder, at, content):
        if at == step:
            raise KeyboardInterrupt
        return save_checkpoint(folder, at, content)

    return save


SIGKILLED = """
import sys
from pathlib import Path
sys.path[:0] = [{root!r}]
from tests.runs import SHORT
from t2t.training.config import RunConfig
from t2t.training.run import train_run
config = RunConfig("tiny", "t2t_vit_14", 0, "t2t_vit", "t2t_vit_7", {{}}, 0.25, 0.3, 1, SHORT)
print("ready", flush=True)
train_run(config, Path({shards!r}), Path({work!r}), Path({out!r}), {{}})
"""


def test_sigkill_of_a_real_process_then_resume(config, shards, tmp_path, undisturbed):
    code = SIGKILLED.format(
        root=str(ROOT), shards=str(shards), work=str(tmp_path / "work"), out=str(tmp_path / "out")
    )
    for attempt in range(10):
        with subprocess.Popen(
            [sys.executable, "-W", "error", "-c", code],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        ) as process:
            assert process.stdout is not None
            process.stdout.readline()
            time.sleep(0.7 + 0.6 * attempt)
            process.kill()
            if process.wait() == 0:
                break
    else:
        train_run(config, shards, tmp_path / "work", tmp_path / "out", {})
    assert contents(tmp_path / "out") == undisturbed(config)


@pytest.mark.faults("killed training")
def test_random_kills_change_nothing(config, shards, tmp_path, undisturbed, all_faults, tally):
    """SIGKILL and SIGTERM mixed, while it starts, reads, steps, saves and scores. Each life begins
    at the newest checkpoint that the ones before have left."""
    kills = 100 if all_faults else 12
    tally.plan(kills)
    result = subprocess.run(
        [sys.executable, "-m", "tests.training.kill_points", shards, tmp_path, str(kills)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    lines = [line.split() for line in result.stdout.splitlines()]
    deaths = [words[1:] for words in lines if words[1].startswith("SIG")]
    assert result.returncode == 0, result.stderr
    ends = [death[:2] for death in deaths]
    known = (["SIGKILL", "-9"], ["SIGTERM", "75"], ["SIGTERM", "-15"])
    for (_, _, saved, began_at), end in zip(deaths, ends, strict=True):
        tally.add(end in known and began_at in (saved, "-"))
    assert len(deaths) == kills and all(end in known for end in ends), deaths
    assert all(began_at in (saved, "-") for _, _, saved, began_at in deaths), deaths
    assert sum(int(began_at) > 0 for *_, began_at in deaths if began_at != "-") >= kills // 6
    for end in (["SIGKILL", "-9"], ["SIGTERM", "75"]):
        assert ends.count(end) >= kills // 6, deaths
    assert contents(tmp_path / "out") == undisturbed(changed(config, epochs=2 * kills))


def test_weights_say_for_which_image_size_they_are(undisturbed, config, tmp_path):
    for name in ("ema.safetensors", "raw.safetensors"):
        (tmp_path / name).write_bytes(undisturbed(config)[name])
        with safe_open(tmp_path / name, framework="pt") as stream:
            assert stream.metadata() == {"image_size": "32x32"}
