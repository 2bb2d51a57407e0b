"""Flows and both servers in a network that ends at this machine: they work, and call nobody."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.flows.stubs import Stub, stub_stages

ROOT = Path(__file__).resolve().parents[2]
# In every Python process that starts: who is asked for, whether it can be reached or not.
HOOK = """
import json, os, sys

def note(event, arguments):
    if event == "socket.getaddrinfo":
        host = arguments[0]
    elif event == "socket.connect" and isinstance(arguments[1], tuple):
        host = arguments[1][0]
    else:
        return
    if isinstance(host, bytes):
        host = host.decode()
    if host not in (None, "", "127.0.0.1", "::1", "localhost"):
        line = json.dumps([host, sys.argv[:3]])
        with open(os.environ["CALLED"], "a") as stream:
            stream.write(line + os.linesep)

sys.addaudithook(note)
"""
FLOW = """
import pathlib
from pipelines.flows.flow import Wish, run_flow

root = pathlib.Path.cwd()
summary = run_flow(root, Wish("stub", places=2), planned=lambda plan: lambda event: None)
assert summary.exit_code == 0, summary.as_text()
"""
SERVERS = """
import pathlib, subprocess, sys
from mlflow import MlflowClient
from pipelines.flows.services import services

root = pathlib.Path.cwd()
with services(root, 4200, 5000) as running:
    running.start_servers()
    code = "from prefect import flow; flow(name='one')(lambda: None)()"
    subprocess.run([sys.executable, "-c", code], env=running.environment(root), check=True)
    client = MlflowClient(running.mlflow)
    client.log_metric(client.create_run(client.create_experiment("e")).info.run_id, "top1", 1.0)
"""


class Alone:
    """Runs things with no network but the loopback."""

    def __init__(self, folder: Path):
        self.called, self._hooks = folder / "called", folder / "hooks"
        self._hooks.mkdir()
        (self._hooks / "sitecustomize.py").write_text(HOOK)

    def run(self, folder: Path, *words: str) -> None:
        """Runs Python with `words`; fails where that fails."""
        done = subprocess.run(
            [*self._command("ip link set lo up && exec \"$@\""), sys.executable, *words],
            cwd=folder, env=self._environment(folder), capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr

    def can_be(self) -> bool:
        """Whether this machine lets us."""
        try:
            return not subprocess.run(self._command("ip link set lo up"), check=False).returncode
        except OSError:
            return False

    def calls(self) -> list[list]:
        """Who was asked for from outside, by which command."""
        text = self.called.read_text() if self.called.exists() else ""
        return [json.loads(line) for line in text.splitlines()]

    def _command(self, script: str) -> list[str]:
        return ["unshare", "--net", "--map-root-user", "sh", "-c", script, "sh"]

    def _environment(self, folder: Path) -> dict[str, str]:
        own = {"CALLED": str(self.called), "PYTHONPATH": f"{self._hooks}{os.pathsep}{ROOT}"}
        # A name of CI's would keep some telemetry quiet; here our own settings must.
        kept = {
            name: value
            for name, value in os.environ.items()
            if name not in ("CI", "PYTEST_CURRENT_TEST")
        }
        return kept | own | {"DVC_SITE_CACHE_DIR": str(folder / ".site_cache")}


@pytest.fixture
def alone(tmp_path):
    found = Alone(tmp_path)
    if not found.can_be():
        pytest.skip("no network of our own is allowed here (unshare --net), or ip is missing")
    return found


def test_a_flow_and_dvc_itself_call_nobody(alone, tmp_path):
    stub = Stub.created(tmp_path / "stub", stub_stages(2))
    alone.run(stub.folder, "-m", "pipelines.environment", sys.executable, "-c", FLOW)
    alone.run(stub.folder, "-m", "pipelines.environment", sys.executable, "-m", "dvc", "repro")
    assert alone.calls() == []


def test_the_servers_call_nobody(alone, tmp_path):
    alone.run(tmp_path, "-m", "pipelines.environment", sys.executable, "-c", SERVERS)
    assert alone.calls() == []


def test_a_call_would_be_seen(alone, tmp_path):
    call = "import contextlib, socket\nwith contextlib.suppress(OSError):\n"
    call += "    socket.create_connection(('192.0.2.1', 80))"
    alone.run(tmp_path, "-c", call)
    assert {host for host, _ in alone.calls()} == {"192.0.2.1"}
