"""MLflow as a mirror: everything once, however often and from wherever it is delivered."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from t2t.tracking.follow import Mirror
from t2t.training.journal import Journal
from t2t.training.record import JOURNAL, record_evaluation
from t2t.training.run import network_of, train_run

pytestmark = [
    pytest.mark.slow,
    # Others' code, which these tests run but cannot mend.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def uri(migrated, tmp_path, monkeypatch):
    from pipelines.environment import SETTINGS

    for name, value in SETTINGS.items():
        monkeypatch.setenv(name, value)
    path = tmp_path / "mlflow" / "mlflow.db"
    path.parent.mkdir()
    shutil.copyfile(migrated, path)
    return f"sqlite:///{path}"


@pytest.fixture(scope="session")
def finished(shards, tmp_path_factory):
    """A finished run's workspace, out folder and config."""
    from tests.runs import short_config

    folder = tmp_path_factory.mktemp("finished")
    config = short_config()
    train_run(config, shards, folder / "work", folder / "out", {"git_commit": "abc", "stage": "x"})
    return folder, json.loads((folder / "out" / "config.json").read_text())


@pytest.fixture
def work(finished, tmp_path):
    shutil.copytree(finished[0] / "work", tmp_path / "work")
    return tmp_path / "work"


def only_run(uri):
    from mlflow import MlflowClient

    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("tiny")
    (run,) = client.search_runs([experiment.experiment_id])
    return client, run


def points(client, run):
    return {
        key: [(point.step, point.timestamp, point.value) for point in history]
        for key in run.data.metrics
        if (history := client.get_metric_history(run.info.run_id, key))
    }


def test_run_holds_all_that_a_reader_needs(work, uri, finished):
    assert Mirror(work, uri).deliver()
    client, run = only_run(uri)
    config = finished[1]
    assert run.info.run_name == "t2t_vit_14-seed0" and run.info.status == "FINISHED"
    expected = {"row": "t2t_vit_14", "scale": "tiny", "seed": "0", "git_commit": "abc"}
    assert expected.items() <= run.data.tags.items()
    assert run.data.tags["digest"] == config["digest"]
    assert run.data.params["lr"] == "0.002" and run.data.params["variant"] == "t2t_vit_7"
    assert [len(history) for history in points(client, run).values()] == [4] * 8
    names = {item.dataset.name: item.dataset.digest for item in run.inputs.dataset_inputs}
    assert names == {f"tiny-{split}": config["shards"][split][:32] for split in ("train", "val")}
    artifacts = {item.path for item in client.list_artifacts(run.info.run_id)}
    assert {"config.json", "metrics.jsonl"} <= artifacts
    assert run.info.artifact_uri.startswith(Path(uri[10:]).parent.as_uri())


def test_model_loads_without_pickle_and_takes_any_batch(work, uri, finished):
    import mlflow

    assert Mirror(work, uri).deliver()
    client, run = only_run(uri)
    mlflow.set_tracking_uri(uri)
    (output,) = run.outputs.model_outputs
    model = client.get_logged_model(output.model_id)
    folder = Path(mlflow.artifacts.download_artifacts(model.model_uri))
    assert not list(folder.rglob("*.pkl")) and list(folder.rglob("*.pt2"))
    signature = mlflow.models.get_model_info(model.model_uri).signature
    assert signature.inputs.to_dict()[0]["tensor-spec"]["shape"] == (-1, 3, 32, 32)
    network = network_of(finished[1]).eval()
    network.load_state_dict(load_file(finished[0] / "out" / "ema.safetensors"))
    images = torch.randn(5, 3, 32, 32)
    with torch.no_grad():
        expected = network(images)
        torch.testing.assert_close(mlflow.pytorch.load_model(model.model_uri)(images), expected)
    served = mlflow.pyfunc.load_model(model.model_uri).predict(images.numpy())
    np.testing.assert_allclose(served, expected.numpy(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("forget", [False, True])
def test_delivering_again_adds_nothing(work, uri, forget):
    Mirror(work, uri).deliver()
    client, run = only_run(uri)
    before = points(client, run)
    if forget:
        for ledger in work.glob("*/mirror.json"):
            ledger.unlink()
    assert Mirror(work, uri).deliver()
    client, run = only_run(uri)
    assert points(client, run) == before
    assert len(run.outputs.model_outputs) == 1


def test_evaluation_joins_the_same_run(work, uri, finished):
    Mirror(work, uri).deliver()
    metrics = {"top1_pct": 97.5, "params_m": 0.1}
    for _ in range(2):
        record_evaluation(work, finished[1], metrics, {"dvc_digest": "d.dir"})
    Mirror(work, uri).deliver()
    client, run = only_run(uri)
    assert metrics.items() <= run.data.metrics.items()
    assert run.data.tags["dvc_digest"] == "d.dir"
    assert len(client.get_metric_history(run.info.run_id, "top1_pct")) == 1


def test_server_that_is_gone_costs_seconds_and_loses_nothing(work, uri):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{unused.getsockname()[1]}"
    mirror = Mirror(work, address)
    began = time.monotonic()
    assert not mirror.deliver() and mirror.problem
    assert time.monotonic() - began < 20
    began = time.monotonic()
    assert not mirror.deliver(), "a dead server is left alone for a while"
    assert time.monotonic() - began < 0.1
    assert Mirror(work, uri).deliver()
    client, run = only_run(uri)
    assert len(points(client, run)["val_top1_pct"]) == 4


def test_follower_delivers_what_is_written_meanwhile_and_ends_with_its_input(work, uri):
    (journal,) = work.glob(f"*/{JOURNAL}")
    with subprocess.Popen(
        [sys.executable, "-m", "t2t.tracking.follow", str(work)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd=ROOT,
        env={**os.environ, "MLFLOW_TRACKING_URI": uri, "OMP_NUM_THREADS": "1"},
    ) as process:
        time.sleep(1)
        Journal(journal).append("epoch", 1000, metrics={"val_top1_pct": 50.0})
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(90) == 0
    client, run = only_run(uri)
    assert run.data.metrics["val_top1_pct"] == 50.0


def test_no_secret_of_the_environment_is_delivered(shards, tmp_path, uri, monkeypatch):
    from tests.runs import short_config

    monkeypatch.setenv("SOME_API_TOKEN", "planted-secret-123")
    train_run(short_config(), shards, tmp_path / "work", tmp_path / "out", {"stage": "train"})
    Mirror(tmp_path / "work", uri).deliver()
    for path in tmp_path.rglob("*"):
        if path.is_file():
            assert b"planted-secret-123" not in path.read_bytes(), path
