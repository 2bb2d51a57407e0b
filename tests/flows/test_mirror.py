"""What Prefect's page shows of a flow, by a server of its own."""

import json

import pytest
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    TaskRunFilter,
    TaskRunFilterFlowRunId,
)
from prefect.task_runners import ThreadPoolTaskRunner
from prefect.testing.utilities import prefect_test_harness

from pipelines.flows.folder import PLAN, Journal
from pipelines.flows.mirror import FlowMirror
from pipelines.flows.outcome import Outcome, Status, event

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning"),
]
JOBS = [
    {"stage": name, "gpus": 0, "minutes": 1.0, "why": ["never run"]}
    for name in ("made", "failed", "elsewhere", "cut")
]


@pytest.fixture
def server():
    with prefect_test_harness(server_startup_timeout=120):
        yield


def write_flow(folder):
    """The journal of a flow that was killed while its last stage ran."""
    plan = {"scale": "tiny", "commit": "a" * 40, "uncommitted": [], "expected": "At most 4 min"}
    (folder / PLAN).write_text(json.dumps({**plan, "verdicts": {"to run": 4}, "jobs": JOBS}))
    tell, log = Journal(folder), folder / "made.log"
    log.write_text("epoch 1 of 2\n")
    tell(event("started", "made", attempt=1, gpus=(), log=str(log)))
    worker = {"run": "7", "worker": "host-2"}
    tell(event("started", "elsewhere", attempt=1, gpus=(), log="", **worker))
    tell(event("started", "cut", attempt=1, gpus=(), log=""))
    ends = {
        "made": Outcome(Status.MADE, 1.0, 1),
        "elsewhere": Outcome(Status.MADE, 1.0, 1),
        "failed": Outcome(Status.FAILED, 1.0, 1, "exit code 3"),
        "not in the plan": Outcome(Status.UNCHANGED),
    }
    for name, outcome in ends.items():
        tell(event("ended", name, **vars(outcome)))


def test_the_page_has_a_task_for_each_stage_and_what_it_led_to(tmp_path, server):
    folder, reports = tmp_path / "flow", tmp_path / "reports/tiny"
    folder.mkdir()
    reports.mkdir(parents=True)
    (reports / "table.csv").write_text("row,title,seeds,top1_pct\na,A-1,3,97.685185\n")
    write_flow(folder)

    @flow(task_runner=ThreadPoolTaskRunner(max_workers=8))
    def shown():
        from prefect.runtime import flow_run

        mirror = FlowMirror(folder)
        mirror.look()
        mirror.finish(tmp_path)
        return flow_run.id

    run = shown()
    with get_client(sync_client=True) as client:
        of_run = TaskRunFilter(flow_run_id=TaskRunFilterFlowRunId(any_=[run]))
        tasks = client.read_task_runs(task_run_filter=of_run)
        states = {task.name: task.state.name for task in tasks}
        of_run = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[run]))
        artifacts = client.read_artifacts(artifact_filter=of_run)
    assert states == {
        "made": "Completed", "elsewhere": "Completed", "failed": "Failed", "cut": "Failed",
    }  # fmt: skip
    shown_by_key = {artifact.key: artifact.data for artifact in artifacts if artifact.key}
    assert "| made | 0 | 1 | never run |" in shown_by_key["plan"]
    assert json.loads(shown_by_key["ablation-table"])[0]["Top-1, %: ours"] == "97.69"
    assert f"Journal and logs: `{folder}`" in shown_by_key["results"]
    progress = {each.description: each.data for each in artifacts if each.type == "progress"}
    assert progress["made"] == 100 and progress["failed"] < 100
