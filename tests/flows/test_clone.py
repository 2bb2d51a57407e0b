"""A worker's clone: nobody else's work is swept, and one run at a time has it."""

import importlib
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from pipelines.flows import folder
from pipelines.flows.clone import check_out, start_worker
from pipelines.flows.folder import new_folder, sole_flow
from pipelines.flows.request import Request
from pipelines.flows.tree import head_commit, set_scale
from t2t.errors import ConfigError, EnvironmentProblem
from t2t.files import partial_path
from tests.flows.stubs import Stub, stub_stages

ROOT = Path(__file__).resolve().parents[2]
LOCK = "schema: '2.0'\nstages: {}\n"
REQUEST = Request(
    commit="0" * 40, stage="first", scale="small", gpus=0, digest="0" * 64, token="0" * 32,
    upstream="", beat_s=1,
)  # fmt: skip
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")


@pytest.fixture
def clone(tmp_path):
    """A committed project with a metric that git keeps outside what git ignores."""
    stages = stub_stages(1)
    stages["last"]["cmd"] += "; cp out/last kept"
    stages["last"]["metrics"] = [{"kept": {"cache": False}}]
    stub = Stub.created(tmp_path / "clone", stages)
    (stub.folder / "params.yaml").write_text("scale: small\nscales: {small: {}, large: {}}\n")
    stub.commit()
    return stub


def test_what_stages_and_flows_write_is_swept(clone):
    commit = head_commit(clone.folder)
    (clone.folder / "kept").write_text("")
    (clone.folder / "dvc.lock").write_text(LOCK)
    set_scale(clone.folder, "large")
    check_out(clone.folder, commit)
    assert clone.run("git", "status", "--porcelain") == ""


@pytest.mark.parametrize("name", ["a", "mine.py"])
def test_a_persons_work_is_not(name, clone):
    (clone.folder / name).write_text("hours of work")
    (clone.folder / "kept").write_text("")
    with pytest.raises(ConfigError, match=rf"a worker would sweep .*\({name}\)"):
        check_out(clone.folder, head_commit(clone.folder))
    assert (clone.folder / name).read_text() == "hours of work"


def test_what_a_killed_writer_leaves_is_no_work_of_anybody():
    """Beside an output that git keeps; else that clone would refuse from then on."""
    left = partial_path(ROOT / "reports" / "digits" / "table.csv")
    assert (
        subprocess.run(["git", "check-ignore", "-q", left], cwd=ROOT, check=False).returncode == 0
    )


@pytest.fixture
def asked(clone, monkeypatch):
    """Asks for a stage in the clone as Prefect would, its worker being one that sleeps."""
    deployed = importlib.import_module("pipelines.flows.deployed")
    started = []

    def start_worker(root, request, log, lock):
        words = [sys.executable, "-c", "input()"]
        worker = subprocess.Popen(words, stdin=subprocess.PIPE, pass_fds=(lock,))
        started.append(worker)
        return worker

    monkeypatch.chdir(clone.folder)
    monkeypatch.setattr(deployed, "start_worker", start_worker)
    monkeypatch.setattr(deployed, "say", lambda lines: None)
    values = REQUEST.model_dump() | {"commit": head_commit(clone.folder)}
    thread = threading.Thread(target=deployed.stage.fn, kwargs=values)
    yield thread, started
    for worker in started:
        end(worker)
    thread.join()


def test_a_clone_is_checked_out_when_the_flow_there_has_ended(clone, asked):
    thread, started = asked
    with sole_flow(clone.folder, wait=False):
        (clone.folder / "dvc.lock").write_text(LOCK)
        thread.start()
        time.sleep(1)
        assert (clone.folder / "dvc.lock").exists() and not started
    wait_for(lambda: started)
    assert not (clone.folder / "dvc.lock").exists()


def test_the_worker_has_the_clone_to_its_end(clone, asked):
    thread, started = asked
    thread.start()
    wait_for(lambda: started)
    time.sleep(0.5)  # the lock of who started it is closed by now
    with pytest.raises(EnvironmentProblem, match="at work"), sole_flow(clone.folder, wait=False):
        pass
    end(started[0])
    thread.join()
    with sole_flow(clone.folder, wait=False):
        pass


def test_a_request_lies_beside_its_log_and_goes_with_it(clone, monkeypatch):
    monkeypatch.setattr(folder, "_KEPT_FLOWS", 2)
    asked = []
    monkeypatch.setattr("subprocess.Popen", lambda words, **rest: asked.append(Path(words[-1])))
    for _ in range(3):
        start_worker(clone.folder, REQUEST, new_folder(clone.folder) / "worker.log", 0)
    assert [file.is_file() for file in asked] == [False, True, True]
    assert Request.model_validate_json(asked[-1].read_text()) == REQUEST
    flows = clone.folder / "data" / "flows"
    assert {path for path in flows.iterdir() if path.is_dir()} == {f.parent for f in asked[1:]}


def end(worker):
    worker.stdin.close()
    worker.wait(30)


def wait_for(condition):
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)
