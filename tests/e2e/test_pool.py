"""The whole of it on one machine: Prefect's server, two workers in two clones, a folder as remote.

Some minutes, so `make pool-check` alone runs it. A worker is killed in the middle of a training,
Prefect's server is restarted, MLflow's never answers: the result is a serial run's.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

import psutil
import pytest

from pipelines.flows.services import services
from tests.e2e.project import Project

pytestmark = [
    pytest.mark.pool,
    pytest.mark.timeout(1500),
    pytest.mark.faults("Prefect's server gone, stuck, and back"),
]
STUCK_S = 15
LONG = ("epochs: 2", "epochs: 20")
WAIT_S = 900


def git(folder, *words):
    identity = ["-c", "user.name=x", "-c", "user.email=x"]
    subprocess.run(["git", *identity, *words], cwd=folder, check=True, capture_output=True)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(condition, seconds=WAIT_S):
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.2)
    return found


def processes_in(folder):
    """Everything that works in `folder`, as a machine's processes would be gone with it."""
    found = []
    for process in psutil.process_iter():
        try:
            if Path(process.cwd()).is_relative_to(folder):
                found.append(process)
        except (psutil.Error, OSError):
            continue
    return found


class Machine:
    """A project with a remote, and two clones of it, below `folder`."""

    def __init__(self, folder, monkeypatch):
        self.folder = folder
        self.project = Project.created(folder / "main")
        self.project.edit("params.yaml", *LONG)
        self.project.dvc("remote", "add", "--default", "here", str(folder / "remote"))
        git(self.project.folder, "add", "-A")
        git(self.project.folder, "commit", "-qm", "x")
        for name in ("one", "two", "serial"):
            git(folder, "clone", "-q", "main", name)
        monkeypatch.setenv("T2T_CHECKPOINTS", str(folder / "checkpoints"))
        monkeypatch.setenv("OMP_NUM_THREADS", "1")

    def kill_the_worker_that_trains(self):
        """SIGKILL to a worker's machine, once a checkpoint of its training has travelled."""
        wait_for(lambda: list((self.folder / "checkpoints").glob("*/*/step_*.pt")))
        for name in ("one", "two"):
            found = processes_in(self.folder / name)
            if any("pipelines.run train" in " ".join(each.cmdline()) for each in found):
                for process in found:
                    process.kill()
                return name
        raise AssertionError("nobody trains")

    def events(self):
        (path,) = (self.project.folder / "data/flows").glob("*/events.jsonl")
        return [json.loads(line) for line in path.read_text().splitlines()]

    def summary(self):
        found = list((self.project.folder / "data/flows").glob("*/summary.json"))
        return json.loads(found[0].read_text()) if found else None


def test_a_worker_killed_and_a_server_restarted_change_nothing(tmp_path, monkeypatch):
    machine = Machine(tmp_path, monkeypatch)
    main = machine.project.folder
    with services(main, free_port(), free_port()) as running:
        running.start_prefect()
        running.deploy()
        running.start_worker("coordinator", "workspace", main)
        for name in ("one", "two"):
            running.start_worker(name, "gpu", tmp_path / name)
        subprocess.run(
            ["prefect", "deployment", "run", "reproduce/gpu"],
            env=running.environment(main), cwd=main, check=True, capture_output=True,
        )  # fmt: skip
        killed = machine.kill_the_worker_that_trains()
        running.stop("prefect")
        running.start_prefect()
        summary = wait_for(machine.summary)
        time.sleep(5)
        assert set(running.dead()) == {killed}
    assert summary["exit_code"] == 0 and not summary["unsettled"]
    assert {stage["status"] for stage in summary["stages"].values()} == {"made"}
    retried = [event["stage"] for event in machine.events() if event["kind"] == "retried"]
    assert len(retried) == 1 and retried[0].startswith("train")
    serial = Project(tmp_path / "serial")
    serial.repro()
    assert serial.read("dvc.lock") == machine.project.read("dvc.lock")
    assert not list((tmp_path / "checkpoints").glob("*")), "made stages need none"


def test_a_server_that_is_gone_costs_the_flow_nothing(tmp_path, monkeypatch):
    """reproduce/local: the work goes on and ends well, told by its own summary. The server is stuck
    for a while, comes back, and is killed."""
    machine = Machine(tmp_path, monkeypatch)
    main = machine.project.folder
    with services(main, free_port(), free_port()) as running:
        running.start_prefect()
        running.deploy()
        running.start_worker("worker", "workspace", main)
        subprocess.run(
            ["prefect", "deployment", "run", "reproduce/local"],
            env=running.environment(main), cwd=main, check=True, capture_output=True,
        )  # fmt: skip
        wait_for(lambda: any(main.glob("data/checkpoints/*/step_*.pt")))
        server = running.process("prefect").pid
        os.killpg(server, signal.SIGSTOP)
        time.sleep(STUCK_S)
        os.killpg(server, signal.SIGCONT)
        time.sleep(1)
        os.killpg(server, signal.SIGKILL)
        assert wait_for(machine.summary)["exit_code"] == 0
    assert machine.project.stale() == set()
    shutil.rmtree(main)
