"""Several processes train one run: the same batches, nearly the same weights, exact resumes."""

import dataclasses
import functools
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
import torch
import torch.distributed as dist
from safetensors.torch import load_file

from t2t.errors import DataError, EnvironmentProblem
from t2t.training.devices import Place
from t2t.training.inputs import validation_loader
from t2t.training.launch import run_on
from t2t.training.loop import Fit
from t2t.training.passes import IMAGES_PER_PASS
from t2t.training.ranks import joined
from t2t.training.run import train_run
from t2t.training.step import Precision
from t2t.training.validate import validate
from tests.runs import changed

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def steady(config):
    """Without dropout, whose draws differ from process to process."""
    config = changed(config, epochs=2, cooldown_epochs=0, drop_path=0.0, mix_group=6)
    return dataclasses.replace(config, overrides={"token_dropout": 0.0})


def trained(config, shards, folder, processes=1):
    train_run(config, shards, folder / "work", folder / "out", {}, Place(0, processes))
    return load_file(folder / "out" / "raw.safetensors")


def assert_near(weights, others):
    """By the distance between the vectors of all weights, against how far training moved."""
    difference = torch.cat([(weights[key] - others[key]).flatten() for key in weights])
    length = torch.cat([value.flatten() for value in weights.values()])
    assert difference.norm() < 1e-4 * length.norm()


@pytest.fixture(scope="session")
def alone(shards, tmp_path_factory):
    made = {}

    def weights(config):
        if repr(config) not in made:
            made[repr(config)] = trained(config, shards, tmp_path_factory.mktemp("alone"))
        return made[repr(config)]

    return weights


def test_three_processes_change_rounding_alone(steady, shards, tmp_path, alone):
    assert_near(trained(steady, shards, tmp_path, 3), alone(steady))


@pytest.mark.parametrize("processes", [1, 2])
def test_a_batch_taken_in_portions_is_the_same_batch(
    steady, shards, tmp_path, alone, processes, monkeypatch
):
    monkeypatch.setenv(IMAGES_PER_PASS, "4")
    assert_near(trained(steady, shards, tmp_path, processes), alone(steady))


def test_batch_norms_see_a_group_in_one_process_or_in_two(steady, shards, tmp_path):
    """Running statistics are the first process's, so that these differ."""
    cnn = dataclasses.replace(
        changed(steady, mix_group=8), backbone="cnn", variant="resnet_50", overrides={}
    )
    made = {
        name: {
            key: value
            for key, value in trained(config, shards, tmp_path / name, processes).items()
            if "running" not in key and "num_batches" not in key
        }
        for name, config, processes in (
            ("one", cnn, 1), ("two", cnn, 2), ("whole", changed(cnn, mix_group=16), 1),
        )
    }  # fmt: skip
    assert_near(made["two"], made["one"])
    with pytest.raises(AssertionError):
        assert_near(made["whole"], made["one"])


def test_another_seed_is_further_away(steady, alone):
    with pytest.raises(AssertionError):
        assert_near(alone(dataclasses.replace(steady, seed=1)), alone(steady))


STARTED = """
import sys
from pathlib import Path
sys.path[:0] = [{root!r}]
from tests.training.test_ranks import three
if __name__ == "__main__":
    three(Path({shards!r}), Path({folder!r}))
"""


def three(shards: Path, folder: Path) -> None:
    """A run of three processes, in this one's children."""
    from tests.runs import short_config

    config = changed(short_config(), epochs=10)
    train_run(config, shards, folder / "work", folder / "out", {}, Place(0, 3))


def start(shards, folder):
    folder.mkdir(exist_ok=True)
    script = folder / "three.py"
    script.write_text(STARTED.format(root=str(ROOT), shards=str(shards), folder=str(folder)))
    with open(folder / "log", "ab") as log:
        return subprocess.Popen(
            [sys.executable, str(script)],
            stdout=log,
            stderr=log,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )


def checkpoints(folder):
    return list(folder.glob("work/*/step_*.pt"))


def wait_for(condition, seconds=90):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


def ranks_of(process):
    """The training processes below torchrun's agent."""
    return [
        child
        for child in psutil.Process(process.pid).children(recursive=True)
        if "spawn_main" in " ".join(child.cmdline())
    ]


@pytest.mark.faults("dead rank under torchrun")
def test_three_processes_resume_to_the_same_bytes_after_a_dead_rank_and_a_stop(shards, tmp_path):
    """Three, since with two the order in which gradients are summed cannot differ."""
    undisturbed = start(shards, tmp_path / "undisturbed")
    assert undisturbed.wait(200) == 0, (tmp_path / "undisturbed" / "log").read_text()

    folder = tmp_path / "disturbed"
    killed = start(shards, folder)
    wait_for(lambda: checkpoints(folder))
    began = time.monotonic()
    ranks_of(killed)[1].kill()
    assert killed.wait(60) != 0 and time.monotonic() - began < 60
    assert "signal 9" in (folder / "log").read_text()

    stopped = start(shards, folder)
    saved = {path.name for path in checkpoints(folder)}
    wait_for(lambda: {path.name for path in checkpoints(folder)} - saved)
    stopped.send_signal(signal.SIGTERM)
    assert stopped.wait(60) != 0
    assert "run it again to continue" in (folder / "log").read_text()
    assert not ranks_left(folder)

    assert start(shards, folder).wait(200) == 0
    for name in ("raw.safetensors", "ema.safetensors", "metrics.jsonl"):
        whole = (tmp_path / "undisturbed" / "out" / name).read_bytes()
        assert (folder / "out" / name).read_bytes() == whole, name


def ranks_left(folder):
    return [
        process
        for process in psutil.process_iter(["cmdline"])
        if str(folder) in " ".join(process.info["cmdline"] or [])
    ]


def fail_in_one():
    if os.environ["RANK"] == "1":
        raise DataError("train.beton: damaged")
    time.sleep(60)


def test_the_error_of_one_process_is_the_run_s_own():
    began = time.monotonic()
    with pytest.raises(DataError, match=r"^train\.beton: damaged$"):
        run_on(2, fail_in_one, "row-seed0")
    assert time.monotonic() - began < 60


def fail_while_the_other_waits():
    dist.destroy_process_group = lambda: time.sleep(60)  # as NCCL may, for what is never joined
    with joined(torch.device("cpu")) as ranks:
        if ranks.rank == 1:
            raise DataError("train.beton: damaged")
        ranks.barrier()


def test_an_error_waits_for_no_other_process():
    began = time.monotonic()
    with pytest.raises(DataError, match=r"^train\.beton: damaged$"):
        run_on(2, fail_while_the_other_waits, "row-seed0")
    assert time.monotonic() - began < 60


@pytest.mark.parametrize("place, index", [(Place(1, 1), 1), (Place(0, 4), 3), (Place(1, 2), 2)])
def test_a_gpu_too_many_is_told(place, index, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setenv("LOCAL_RANK", "3" if place.processes == 4 else "0")
    with pytest.raises(EnvironmentProblem, match=f"^GPU {index} .* there are 1: .*T2T_PROCESSES"):
        place.device()


def test_images_per_pass_must_be_a_number(steady, shards, tmp_path, monkeypatch):
    monkeypatch.setenv(IMAGES_PER_PASS, "many")
    with pytest.raises(EnvironmentProblem, match=f"{IMAGES_PER_PASS} must be a number"):
        trained(steady, shards, tmp_path)


class OwnStatistics(torch.nn.Module):
    """Answers by buffers that are this process's own, as those of a batch norm are."""

    def __init__(self, rank: int):
        super().__init__()
        self.register_buffer("mean", torch.full((10,), float(rank)) * torch.arange(10))

    def forward(self, images):
        return images.mean((1, 2, 3))[:, None] + self.get_buffer("mean")


def score_one_network(shards):
    device = torch.device("cpu")
    val, statistics = validation_loader(shards), {"mean": (0.0,) * 3, "std": (1.0,) * 3}
    with joined(device) as ranks:
        fit: Any = SimpleNamespace(
            inputs=SimpleNamespace(val=val, preparation=SimpleNamespace(**statistics)),
            device=device,
            label="run",
            ranks=ranks,
            state=SimpleNamespace(precision=Precision(device)),
        )
        score = Fit._score(fit, OwnStatistics(ranks.rank))
    first = validate(OwnStatistics(0), val, device, **statistics)
    if abs(score.loss - first.loss) > 1e-6:
        raise DataError(f"scored {score}, the first process's network has {first}")


def test_the_score_of_several_processes_is_that_of_the_network_that_is_saved(shards):
    run_on(2, functools.partial(score_one_network, shards), "row-seed0")
