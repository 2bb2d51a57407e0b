"""What prefect.yaml and the flows behind it promise."""

import base64
import importlib
import os
import re
import socket
import sys
import threading
import time
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import psutil
import pytest
from pydantic import ValidationError
from ruamel.yaml import YAML

from pipelines.flows import services

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "prefect.yaml").read_text()
DEPLOYMENTS = YAML(typ="safe").load(TEXT)["deployments"]
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")


@pytest.fixture(scope="module")
def flows():
    return importlib.import_module("pipelines.flows.deployed")


def named(entry):
    return f"{entry['entrypoint'].rpartition(':')[2]}/{entry['name']}"


def test_deployments():
    assert [named(entry) for entry in DEPLOYMENTS] == [
        "reproduce/local", "reproduce/gpu", "reproduce/nightly", "stage/gpu"
    ]  # fmt: skip
    for entry in DEPLOYMENTS:
        assert "concurrency_limit" not in entry, "a server that restarts loses its lease"
    assert {entry["work_pool"]["name"] for entry in DEPLOYMENTS} == set(services.POOLS)
    assert [s["active"] for entry in DEPLOYMENTS for s in entry.get("schedules", ())] == [False]


def test_their_parameters_are_the_flows(flows):
    for entry in DEPLOYMENTS:
        file, _, function = entry["entrypoint"].rpartition(":")
        assert (ROOT / file).is_file()
        known = getattr(flows, function).parameters.properties
        assert entry.get("parameters", {}).keys() <= known.keys()
        assert all(value.get("description") for value in known.values()), "shown on the page"


@pytest.mark.parametrize(
    "wrong",
    [{"rows": ["a;b"]}, {"rows": "a"}, {"slots": 0}, {"scale": "A"}, {"pool": "../x"}],
)
def test_wrong_parameters_are_refused_before_anything_runs(wrong, flows):
    from prefect.exceptions import ParameterTypeError

    with pytest.raises((ParameterTypeError, ValidationError)):
        flows.reproduce.validate_parameters(wrong)
    assert flows.reproduce.validate_parameters({"scale": "digits", "rows": ["t2t_vit_14"]})


def test_servers_listen_here_alone(tmp_path, monkeypatch):
    started = []
    monkeypatch.setattr(services.subprocess, "Popen", lambda words, **rest: started.append(words))
    monkeypatch.setattr(services.Services, "_wait_for", lambda *_: None)
    running = services.Services(tmp_path, 1, 2)
    running.start_servers()
    assert len(started) == 2
    for words in started:
        assert words[words.index("--host") + 1] == "127.0.0.1"
    assert not re.search(r"0\.0\.0\.0|--host \$", (ROOT / "Makefile").read_text())


def test_a_workers_clone_is_its_own_affair():
    """The variable is filled in by each worker, not by whoever deploys."""
    assert "{{ $T2T_CLONE }}" in TEXT


def test_the_flow_needs_no_prefect():
    """Nothing that the command imports imports Prefect; a pool's dispatcher is asked for alone."""
    from tests.contracts.imports import import_closure

    closure = import_closure(ROOT / "pipelines/flows/flow.py")
    closure |= import_closure(ROOT / "pipelines/flows/display.py")
    for path in closure:
        assert not re.search(r"^\s*(from|import) prefect", path.read_text(), re.M), path


def test_the_page_says_what_is_there(tmp_path, monkeypatch):
    from pipelines.flows.pages import plan_page, result_page, result_rows

    plan = {
        "scale": "digits", "commit": "a" * 40, "uncommitted": ["x"], "gpus": 2, "places": 3,
        "expected": "At most 4 min", "verdicts": {"to run": 1},
        "jobs": [{"stage": "train@a", "gpus": 1, "minutes": 2.0, "why": ["never run"]}],
    }  # fmt: skip
    page = plan_page(plan)
    assert (
        "| train@a | 1 | 2 | never run |" in page
        and "At most 4 min." in page
        and "Not in the commit: x" in page
    )
    assert result_rows(tmp_path, "digits") == []
    reports = tmp_path / "reports/digits"
    reports.mkdir(parents=True)
    (reports / "table.csv").write_text("row,title,seeds,top1_pct\na,A-1,3,97.685185\n")
    (reports / "index.html").write_text("")
    (shown,) = result_rows(tmp_path, "digits")
    assert (shown["Row"], shown["Seeds"], shown["Top-1, %: ours"]) == ("A-1", "3", "97.69")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    assert "(http://127.0.0.1:9/#/experiments)" in result_page(tmp_path, "digits", tmp_path)


class Guarded(BaseHTTPRequestHandler):
    """MLflow's server behind a login."""

    def do_GET(self):
        signed_in = f"Basic {base64.b64encode(b'someone:s3cret').decode()}"
        known = self.headers["Authorization"] == signed_in
        self.server.asked.append((self.path, known))
        self.send_response(200 if known else 401)
        self.end_headers()
        self.wfile.write(b'{"experiment": {"experiment_id": "7"}}' if known else b"{}")

    def log_message(self, format, *args):
        """Keeps stderr free."""


@pytest.fixture
def guarded():
    with ThreadingHTTPServer(("127.0.0.1", 0), Guarded) as server:
        server.asked = []
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.mark.parametrize("by", ["address", "environment", "nothing"])
def test_the_page_leads_to_the_runs_of_a_row(tmp_path, monkeypatch, guarded, by):
    """As MLflow's server says where they are, to those who are signed in."""
    from pipelines.flows import pages

    reports = tmp_path / "reports/digits"
    reports.mkdir(parents=True)
    (reports / "table.csv").write_text("row,title\na,A-1\n")
    place = f"127.0.0.1:{guarded.server_port}"
    login = "someone:s3cret@" if by == "address" else ""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://{login}{place}/")
    if by == "environment":
        monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "someone")
        monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "s3cret")
    page = pages.result_page(tmp_path, "digits", tmp_path)
    path = "/api/2.0/mlflow/experiments/get-by-name?experiment_name=digits"
    assert guarded.asked == [(path, by != "nothing")]
    assert "s3cret" not in page
    runs = f"http://{place}/#/experiments/7/runs"
    row = f"[A-1]({runs}?searchFilter=tags.row%20%3D%20%27a%27)"
    assert (row in page) == (by != "nothing") and f"http://{place}/#/experiments" in page


REQUEST = {
    "commit": "a" * 40, "stage": "train@a", "scale": "tiny", "gpus": 0, "digest": "b" * 32,
    "token": "c" * 32, "upstream": "", "beat_s": 1.0,
}  # fmt: skip


@pytest.mark.faults("Prefect's server gone, stuck, and back")
@pytest.mark.parametrize(("server", "error"), [("gone", "ConnectError"), ("stuck", "ReadTimeout")])
def test_a_dispatcher_without_a_server_raises_nothing_and_returns_soon(
    server, error, capsys, monkeypatch
):
    """A coordinator looks for results between two of these calls."""
    from prefect.settings import PREFECT_API_URL, temporary_settings

    from pipelines.flows import dispatch, patience
    from pipelines.flows.request import Request
    from pipelines.flows.watch import UNTOLD

    monkeypatch.setattr(patience, "PATIENCE_S", 1)
    with socket.socket() as stuck:
        stuck.bind(("127.0.0.1", 0))
        if server == "stuck":
            stuck.listen()  # takes connections, and never says a word
        address = f"http://127.0.0.1:{stuck.getsockname()[1]}/api"
        with temporary_settings({PREFECT_API_URL: address}):
            dispatcher, run = dispatch.PrefectDispatcher("gpu"), str(uuid.uuid4())
            began = time.monotonic()
            for _ in range(2):
                assert dispatcher.hint(run) is UNTOLD
            assert capsys.readouterr().err.count(f"Prefect: {error}") == 1, "said once"
            assert dispatcher.submit(Request(**REQUEST)) is None
            dispatcher.cancel(run)
            assert time.monotonic() - began < 30


def test_nothing_that_a_worker_has_begun_outlives_the_services(tmp_path, monkeypatch):
    """A flow works in a session of its own, which a signal to the worker's does not reach."""
    monkeypatch.setattr(services, "_FLOWS_PATIENCE_S", 0.5)
    flow = "import signal, time; signal.signal(signal.SIGTERM, lambda *_: None); time.sleep(600)"
    worker = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {flow!r}], "
    worker += "start_new_session=True)"
    with services.services(tmp_path, 0, 0) as running:
        running._start("worker", [sys.executable, "-c", worker], dict(os.environ))
        children = psutil.Process(running.process("worker").pid).children
        deadline = time.monotonic() + 60
        while not (begun := children()):
            assert time.monotonic() < deadline
            time.sleep(0.05)
    gone, alive = psutil.wait_procs(begun, 10)
    assert len(gone) == 1 and not alive
