"""MLflow as a mirror: everything once, however often and from wherever it is delivered."""

import socket
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from t2t.evaluation.released_run import released_run
from t2t.models import create
from t2t.tracking import delivery
from t2t.tracking.mirror import Mirror
from t2t.training.journal import read_journal, read_journal_from, restored_journal
from t2t.training.record import JOURNAL, record_evaluation
from t2t.training.run import network_of, train_run
from tests.runs import short_config
from tests.tracking.reading import only_run, points

pytestmark = [
    pytest.mark.slow,
    # Others' code, which these tests run but cannot mend.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]
ROOT = Path(__file__).resolve().parents[2]


def test_run_holds_all_that_a_reader_needs(work, uri, finished):
    assert Mirror(work, uri).deliver()
    client, run = only_run(uri)
    config = finished[1]
    assert run.info.run_name == "t2t_vit_14-seed0" and run.info.status == "FINISHED"
    expected = {"row": "t2t_vit_14", "scale": "tiny", "seed": "0", "git_commit": "abc"}
    assert expected.items() <= run.data.tags.items()
    assert run.data.tags["digest"] == config["digest"] and run.data.tags["device"]
    assert run.data.params["lr"] == "0.002" and run.data.params["variant"] == "t2t_vit_7"
    assert [len(history) for history in points(client, run).values()] == [4] * 7
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


def test_what_was_delivered_is_not_read_again(work, uri, finished, monkeypatch):
    mirror, starts = Mirror(work, uri), {}

    def counted(path, start):
        starts[path.name] = start
        return read_journal_from(path, start)

    monkeypatch.setattr(delivery, "read_journal_from", counted)
    (journal,) = work.glob(f"*/{JOURNAL}")
    written_bytes = journal.stat().st_size
    assert mirror.deliver() and starts[JOURNAL] == 0
    assert mirror.deliver() and starts[JOURNAL] == written_bytes
    starts.clear()
    assert mirror.deliver() and not starts, "nothing was written"
    record_evaluation(work, finished[1], {"top1_pct": 97.5}, {})
    assert mirror.deliver() and starts[JOURNAL] == written_bytes
    assert only_run(uri)[1].data.metrics["top1_pct"] == 97.5
    (ledger,) = work.glob("*/mirror.json")
    ledger.unlink()
    assert mirror.deliver() and ledger.is_file(), "without it all is owed again"


@pytest.mark.parametrize("note", ["", "a longer line than it was"])
def test_a_journal_that_was_made_again_is_delivered_again(work, uri, note):
    """What its first lines say is there already, and adds nothing."""
    Mirror(work, uri).deliver()
    client, run = only_run(uri)
    before = points(client, run)["val_top1_pct"]
    (journal,) = work.glob(f"*/{JOURNAL}")
    *first, last = read_journal(journal)
    kept = b"".join(journal.read_bytes().splitlines(keepends=True)[:-1])
    journal.write_bytes(kept)
    tags = {"note": note} if note else {}
    restored_journal(journal, kept.decode()).append(
        "epoch", last["step"], metrics=last["metrics"], timing=last["timing"], tags=tags
    )
    mirror = Mirror(work, uri)
    assert mirror.deliver(), mirror.problem
    again = points(client, run)["val_top1_pct"]
    assert [point for point in again if point in before] == before
    assert [step for step, *_ in again] == [*(e["step"] for e in first), *[last["step"]] * 2]


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


@pytest.mark.faults("tracking server gone, slow, failing")
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
    assert time.monotonic() - began < 1
    assert Mirror(work, uri).deliver()
    client, run = only_run(uri)
    assert len(points(client, run)["val_top1_pct"]) == 4


def test_a_lost_database_gets_everything_again(work, uri, finished):
    assert Mirror(work, uri).deliver()
    client, run = only_run(uri)
    before = points(client, run)
    client.delete_run(run.info.run_id)
    assert Mirror(work, uri, patient=True).deliver()
    client, again = only_run(uri)
    assert again.info.run_id != run.info.run_id and points(client, again) == before


def test_a_run_carries_its_rows_labels(work, uri):
    labels = {"t2t_vit_14": {"title": "T2T-ViT-14", "paper_table": "Table 7, T2T module"}}
    assert Mirror(work, uri, labels=labels).deliver()
    _, run = only_run(uri)
    assert labels["t2t_vit_14"].items() <= run.data.tags.items()


@pytest.mark.parametrize("evaluated", [False, True])
def test_weights_that_were_not_trained_here_are_delivered_too(shards, tmp_path, uri, evaluated):
    config, work, weights = short_config(), tmp_path / "work", tmp_path / "theirs.pth"
    names = "backbone", "width_factor", "depth_factor"
    network = {name: getattr(config, name) for name in names}
    model = create(config.variant, image_size=32, num_classes=10, **network)
    torch.save({"state_dict_ema": model.state_dict()}, weights)
    resolved = released_run(config, weights, shards, work, tmp_path / "out", {}, None)
    if evaluated:
        record_evaluation(work, resolved, {"top1_pct": 97.5}, {})
    mirror = Mirror(work, uri)
    assert mirror.deliver(), mirror.problem
    client, run = only_run(uri)
    assert run.info.status == "FINISHED" and len(run.outputs.model_outputs) == 1
    known = [time for history in points(client, run).values() for _, time, _ in history]
    assert len(known) == evaluated
    assert run.info.end_time == max(known, default=run.info.start_time)


def test_no_secret_of_the_environment_is_delivered(shards, tmp_path, uri, monkeypatch):
    monkeypatch.setenv("SOME_API_TOKEN", "planted-secret-123")
    train_run(short_config(), shards, tmp_path / "work", tmp_path / "out", {"stage": "train"})
    Mirror(tmp_path / "work", uri).deliver()
    for path in tmp_path.rglob("*"):
        if path.is_file():
            assert b"planted-secret-123" not in path.read_bytes(), path
