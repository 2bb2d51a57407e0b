"""An MLflow server that is gone, stuck, failing or forgetful, and back: nothing lost or doubled."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from pipelines.environment import SETTINGS
from t2t.tracking.mirror import Mirror
from t2t.training.run import train_run
from tests.faults.kinds_of_results import make_workspace
from tests.faults.proxy import way_to
from tests.runs import changed, short_config

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.faults("tracking server gone, slow, failing"),
    # Others' code, which these tests run but cannot mend.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]
POINTS = {"epoch": 5, "train_loss": 5, "images_per_s": 5}


@pytest.fixture(scope="module")
def mlflow_server(migrated, tmp_path_factory):
    """A real server, in a process group of its own."""
    folder = tmp_path_factory.mktemp("server")
    shutil.copyfile(migrated, folder / "mlflow.db")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [Path(sys.executable).parent / "mlflow", "server", "--host", "127.0.0.1"]
    command += ["--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", f"sqlite:///{folder}/mlflow.db"]
    command += ["--artifacts-destination", folder / "artifacts"]
    with open(folder / "log", "wb") as log:
        process = subprocess.Popen(
            command, env={**os.environ, **SETTINGS}, stdout=log, stderr=log, start_new_session=True
        )
    deadline = time.monotonic() + 120
    while True:
        with socket.socket() as link:
            if link.connect_ex(("127.0.0.1", port)) == 0:
                break
        assert process.poll() is None and time.monotonic() < deadline, (folder / "log").read_text()
        time.sleep(0.2)
    yield process, port
    os.killpg(process.pid, signal.SIGCONT)
    os.killpg(process.pid, signal.SIGTERM)
    process.wait(30)


@pytest.fixture
def way(mlflow_server, monkeypatch):
    for name, value in {**SETTINGS, "MLFLOW_HTTP_REQUEST_TIMEOUT": "5"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", "0")
    with way_to(mlflow_server[1]) as way:
        yield way


@pytest.fixture
def work(tmp_path, request):
    """A workspace whose run no other test delivers."""
    folder = tmp_path / "work"
    make_workspace(folder, digest_of(request.node.name))
    return folder


def digest_of(name: str) -> str:
    import hashlib

    return hashlib.sha256(name.encode()).hexdigest()


def stored(way, digest):
    """The runs that the server has of a digest, as (params, data sets, points by key, models)."""
    from mlflow import MlflowClient

    client = MlflowClient(way.address)
    experiment = client.get_experiment_by_name("tiny")
    runs = client.search_runs([experiment.experiment_id], f"tags.digest = '{digest}'")
    found = []
    for run in runs:
        points = {k: len(client.get_metric_history(run.info.run_id, k)) for k in run.data.metrics}
        models = client.search_logged_models(
            [experiment.experiment_id], f"source_run_id = '{run.info.run_id}'"
        )
        found.append((run.data.params, len(run.inputs.dataset_inputs), points, len(models)))
    return found


def delivered(way, work, fault, after):
    """Delivers while `fault` strikes after some requests, then without; whether the first did."""
    way.set(fault, after)
    first = Mirror(work, way.address).deliver()
    way.set("none")
    assert Mirror(work, way.address).deliver()
    return first


@pytest.mark.parametrize("fault", ["500", "answer lost"])
def test_a_failing_server_loses_and_doubles_nothing(way, tmp_path, fault, all_faults, tally):
    """At requests of a delivery, counted from its first; in the full form at each there is."""
    for after in range(40) if all_faults else (1, 3, 5):
        work, digest = tmp_path / f"work{after}", digest_of(f"{fault} {after}")
        make_workspace(work, digest)
        whole = delivered(way, work, fault, after)
        (run,) = stored(way, digest)
        params, datasets, points, _ = run
        held = (points, datasets, params.get("lr")) == (POINTS, 2, "0.1")
        tally.add(held)
        assert held, (fault, after, run)
        if whole:
            return
    assert not all_faults, "more requests than were tried"


def test_a_slow_server_gets_everything(way, work, request):
    assert delivered(way, work, "slow", 0)
    assert [run[2] for run in stored(way, digest_of(request.node.name))] == [POINTS]


def test_a_stopped_server_costs_a_bounded_time(way, work, request, mlflow_server, monkeypatch):
    """SIGSTOP: it takes connections and says nothing."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    group = [psutil.Process(mlflow_server[0].pid)]
    group += group[0].children(recursive=True)
    for process in group:
        process.suspend()
    began = time.monotonic()
    mirror = Mirror(work, f"http://127.0.0.1:{mlflow_server[1]}")
    try:
        assert not mirror.deliver() and mirror.problem
    finally:
        for process in group:
            process.resume()
    assert time.monotonic() - began < 30
    assert Mirror(work, way.address).deliver()
    assert [run[2] for run in stored(way, digest_of(request.node.name))] == [POINTS]


@pytest.mark.parametrize("fault", ["500", "answer lost"])
def test_a_model_is_stored_once(way, shards, tmp_path, fault, all_faults, tally):
    """The upload of a model is the larger part of some thirty requests."""
    short = changed(short_config(), epochs=1, cooldown_epochs=0, warmup_epochs=0)
    train_run(short, shards, tmp_path / "first", tmp_path / "out", {})
    moments = range(5, 32, 3) if all_faults else (19,)
    tally.plan(len(moments))
    for after in moments:
        work = tmp_path / f"work{after}"
        shutil.copytree(tmp_path / "first", work)
        digest = renamed(work, digest_of(f"model {fault} {after}"))
        delivered(way, work, fault, after)
        runs = stored(way, digest)
        held = [run[3] for run in runs] == [1]
        tally.add(held)
        assert held, (fault, after, runs)


def renamed(work: Path, digest: str) -> str:
    """Makes the only run in `work` another one for the tracker."""
    from t2t.files import SEAL, sealed, write_json

    (record,) = work.glob("*/run.json")
    content = json.loads(record.read_text())
    del content[SEAL]
    content["tags"]["digest"] = digest
    write_json(record, sealed(content))
    return digest


def test_one_damaged_workspace_does_not_hold_up_the_others(way, tmp_path):
    work, digests = tmp_path / "work", [digest_of("sound"), digest_of("damaged")]
    for digest in digests:
        make_workspace(work, digest)
    digests.sort()
    journal = work / digests[0][:32] / "journal.jsonl"
    journal.write_text(journal.read_text().replace("100.5", "900.5"))
    mirror = Mirror(work, way.address)
    assert not mirror.deliver() and "line 1 is damaged" in str(mirror.problem)
    assert [run[2] for run in stored(way, digests[1])] == [POINTS]
