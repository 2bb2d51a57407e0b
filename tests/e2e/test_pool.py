"""The whole of it on one machine: Prefect's server, two workers in two clones, a remote.

Many minutes, so `make pool-check` alone runs it. A worker is killed in the middle of a training,
Prefect's server is restarted, MLflow's never answers: the result is a serial run's.
"""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import fsspec
import psutil
import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas import filters
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import Cancelling
from ruamel.yaml import YAML

from pipelines.flows.services import services
from t2t.errors import Preempted
from tests.e2e.ports import free_port
from tests.e2e.project import ROOT, Project

pytestmark = [pytest.mark.pool, pytest.mark.timeout(3600)]
STUCK_S = 15
LONG = ("epochs: 2", "epochs: 12")
WAIT_S = 1800
# A measurement is another each time, and so is what shows it.
MEASURED = {"reports/digits/costs.json", "reports/digits/index.html"}


def git(folder, *words):
    identity = ["-c", "user.name=x", "-c", "user.email=x"]
    subprocess.run(["git", *identity, *words], cwd=folder, check=True, capture_output=True)


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


def rows_of_table_7():
    """As lines of params.yaml, those that the small project lacks."""
    rows = YAML(typ="safe").load(ROOT / "params.yaml")["rows"]
    wanted = {name: row for name, row in rows.items() if (row["paper"] or {}).get("table") == 7}
    del wanted["t2t_vit_14"]
    assert len(wanted) == 4
    return "".join(f"  {name}: {json.dumps(row)}\n" for name, row in wanted.items())


def small_project(folder):
    """All rows of Table 7 and one more."""
    project = Project.created(folder)
    project.edit("params.yaml", *LONG)
    project.edit("params.yaml", "  vit_small:\n", rows_of_table_7() + "  vit_small:\n")
    return project


def start_flow(running, main, deployment):
    subprocess.run(
        ["prefect", "deployment", "run", f"reproduce/{deployment}"],
        env=running.environment(main), cwd=main, check=True, capture_output=True,
    )  # fmt: skip


def differing(ours, theirs):
    """Paths of outputs and inputs that dvc.lock has otherwise; the rest must be alike."""
    found = set()
    ours, theirs = (YAML(typ="safe").load(project.read("dvc.lock")) for project in (ours, theirs))
    assert list(ours["stages"]) == list(theirs["stages"]), "in the same order"
    for name, entry in ours["stages"].items():
        other = theirs["stages"][name]
        assert entry["cmd"] == other["cmd"] and entry.get("params") == other.get("params")
        for kind in ("deps", "outs"):
            pairs = zip(entry.get(kind, []), other.get(kind, []), strict=True)
            found |= {one["path"] for one, two in pairs if one != two}
    return found


class Machine:
    """A project with a remote, and two clones of it, below `folder`."""

    def __init__(self, folder, monkeypatch, project, remote, checkpoints):
        self.folder, self.project = folder, project
        self.checkpoints = fsspec.core.url_to_fs(checkpoints)
        self.project.dvc("remote", "add", "--default", "here", remote)
        git(self.project.folder, "add", "-A")
        git(self.project.folder, "commit", "-qm", "x")
        for name in ("one", "two"):
            git(folder, "clone", "-q", "main", name)
        monkeypatch.setenv("T2T_CHECKPOINTS", checkpoints)
        monkeypatch.setenv("OMP_NUM_THREADS", "1")

    def left_behind(self):
        """The files at the checkpoints' place."""
        fs, place = self.checkpoints
        fs.invalidate_cache()
        return fs.find(place)

    def kill_the_worker_that_trains(self):
        """SIGKILL to a worker's machine, once a checkpoint of its training has travelled."""
        wait_for(lambda: any(path.endswith(".pt") for path in self.left_behind()))
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

    def made(self):
        """The stages that workers have made, each as often as it was."""
        logs = [self.project.read(f"data/services/{name}.log") for name in ("one", "two")]
        return re.findall(r" - (\S+): made *$", "\n".join(logs), re.MULTILINE)

    def summary(self):
        found = list((self.project.folder / "data/flows").glob("*/summary.json"))
        return json.loads(found[0].read_text()) if found else None


class Page:
    """What Prefect's server at `api` says of the only run of `reproduce`."""

    def __init__(self, api):
        self._api = api

    @contextlib.contextmanager
    def _client(self):
        with (
            temporary_settings({PREFECT_API_URL: self._api}),
            get_client(sync_client=True) as client,
        ):
            yield client

    def run(self):
        named = filters.FlowFilter(name=filters.FlowFilterName(any_=["reproduce"]))
        with self._client() as client:
            (run,) = client.read_flow_runs(flow_filter=named)
        return run

    def final_state(self):
        return wait_for(lambda: (state := self.run().state).is_final() and state.name)

    def cancel(self):
        with self._client() as client:
            client.set_flow_run_state(self.run().id, Cancelling())

    def artifacts(self):
        """Its own, by key."""
        own = filters.ArtifactFilterFlowRunId(any_=[self.run().id])
        with self._client() as client:
            found = client.read_artifacts(artifact_filter=filters.ArtifactFilter(flow_run_id=own))
        return {each.key: each.data for each in found if each.key}

    def tasks(self):
        """States by name."""
        own = filters.TaskRunFilterFlowRunId(any_=[self.run().id])
        with self._client() as client:
            found = client.read_task_runs(task_run_filter=filters.TaskRunFilter(flow_run_id=own))
        return {each.name: each.state.name for each in found}


@contextlib.contextmanager
def training_flow(folder, monkeypatch):
    """A flow of reproduce/local that has saved a checkpoint, and the services that it runs by."""
    project = Project.created(folder / "main")
    project.edit("params.yaml", *LONG)
    checkpoints = str(folder / "checkpoints")
    machine = Machine(folder, monkeypatch, project, str(folder / "remote"), checkpoints)
    main = project.folder
    with services(main, free_port(), free_port()) as running:
        running.start_prefect()
        running.deploy()
        running.start_worker("worker", "workspace", main)
        start_flow(running, main, "local")
        wait_for(lambda: any(main.glob("data/checkpoints/*/step_*.pt")))
        yield machine, running


@pytest.fixture(scope="module")
def serial(tmp_path_factory):
    """The same after a plain `dvc repro`."""
    project = small_project(tmp_path_factory.mktemp("serial"))
    project.patience_s = WAIT_S
    project.repro()
    return project


@pytest.mark.parametrize("kind", ["folder", "s3"])
def test_a_worker_killed_and_a_server_restarted_change_nothing(
    tmp_path, monkeypatch, serial, kind, request
):
    server = request.getfixturevalue("s3") if kind == "s3" else None
    remote, checkpoints = (
        server.url(name) if server else str(tmp_path / name) for name in ("remote", "checkpoints")
    )
    project = small_project(tmp_path / "main")
    machine = Machine(tmp_path, monkeypatch, project, remote, checkpoints)
    main = project.folder
    with services(main, free_port(), free_port()) as running:
        running.start_prefect()
        running.deploy()
        running.start_worker("coordinator", "workspace", main)
        for name in ("one", "two"):
            running.start_worker(name, "gpu", tmp_path / name)
        start_flow(running, main, "gpu")
        killed = machine.kill_the_worker_that_trains()
        running.stop("prefect")
        running.start_prefect()
        summary = wait_for(machine.summary)
        page = Page(running.api)
        assert page.final_state() == "Completed"
        assert set(page.tasks()) == set(summary["stages"])
        artifacts = page.artifacts()
        assert {"plan", "ablation-table", "results"} <= artifacts.keys()
        assert len(json.loads(artifacts["ablation-table"])) == 7
        assert set(running.dead()) == {killed}
    assert not processes_in(tmp_path), "the services leave nothing behind"
    assert summary["exit_code"] == 0 and not summary["unsettled"]
    assert {stage["status"] for stage in summary["stages"].values()} == {"made"}
    retried = [event for event in machine.events() if event["kind"] == "retried"]
    # Prefect may lose a run besides, before it begins, as it does where its database is busy.
    lost = [each["stage"] for each in retried if "not been heard of" in each["details"]["why"]]
    assert len(lost) == 1 and lost[0].startswith("train")
    assert sorted(machine.made()) == sorted(summary["stages"]), "nothing is made twice"
    assert differing(serial, project) <= MEASURED
    assert not machine.left_behind(), "made stages need none"


@pytest.mark.faults("Prefect's server gone, stuck, and back")
def test_a_server_that_is_gone_costs_the_flow_nothing(tmp_path, monkeypatch):
    """reproduce/local: the work goes on and ends well, told by its own summary. The server is stuck
    for a while, comes back, and is killed."""
    with training_flow(tmp_path, monkeypatch) as (machine, running):
        main = machine.project.folder
        server = running.process("prefect").pid
        os.killpg(server, signal.SIGSTOP)
        time.sleep(STUCK_S)
        os.killpg(server, signal.SIGCONT)
        time.sleep(1)
        os.killpg(server, signal.SIGKILL)
        assert wait_for(machine.summary)["exit_code"] == 0
    assert not processes_in(tmp_path), "the services leave nothing behind"
    assert machine.project.stale() == set()
    shutil.rmtree(main)


def test_a_flow_that_is_cancelled_on_the_page_stops_its_stages_which_can_go_on(
    tmp_path, monkeypatch
):
    with training_flow(tmp_path, monkeypatch) as (machine, running):
        main = machine.project.folder
        page = Page(running.api)
        page.cancel()
        assert page.final_state() == "Cancelled"
        assert wait_for(machine.summary, 60)["exit_code"] == Preempted.exit_code
        assert not any("pipelines.run" in " ".join(each.cmdline()) for each in processes_in(main))
    assert not processes_in(tmp_path), "the services leave nothing behind"
    assert any(main.glob("data/checkpoints/*/step_*.pt"))
    machine.project.patience_s = WAIT_S
    machine.project.repro()
    assert machine.project.stale() == set()
