"""MLflow rebuilt from files: the same runs as the live mirror's, whatever was lost."""

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.stored_runs import stored_runs
from t2t.tracking.imports import Importer
from t2t.tracking.mirror import Mirror
from t2t.training.journal import Journal
from t2t.training.record import JOURNAL, record_evaluation
from t2t.training.workspace import workspace_of
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
LABELS = {"t2t_vit_14": {"title": "T2T-ViT-14"}}
FIGURES = {
    "top1_pct": 97.5, "top5_pct": 99.5, "top1_raw_pct": 97.0, "top5_raw_pct": 99.0, "loss": 0.25,
    "params_m": 0.1, "params_trainable_m": 0.09, "macs_g": 0.002,
}  # fmt: skip
SEED_FIGURES = ("top1_pct", "top5_pct", "top1_raw_pct", "top5_raw_pct", "loss")


@pytest.fixture
def project(finished, tmp_path):
    """A project with a finished run and its evaluation, recorded in git, and no workspace."""
    root = tmp_path / "project"
    shutil.copytree(finished[0] / "out", root / "data/runs/tiny/t2t_vit_14/seed_0")
    (root / "data/checkpoints").mkdir()
    reports = root / "reports/tiny"
    for folder in ("evaluations", "metrics"):
        (reports / folder).mkdir(parents=True)
    with open(reports / "evaluations/t2t_vit_14.csv", "w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["seed", *SEED_FIGURES, "digest"])
        writer.writerow([0, *(FIGURES[key] for key in SEED_FIGURES), finished[1]["digest"]])
    summary = {key: FIGURES[key] for key in FIGURES if key not in SEED_FIGURES}
    (reports / "metrics/t2t_vit_14.json").write_text(json.dumps(summary))
    (root / "dvc.lock").write_text(
        "stages:\n  train:\n    outs:\n    - path: data/runs/tiny/t2t_vit_14\n      md5: abc.dir\n"
    )
    shutil.copyfile(ROOT / "params.yaml", root / "params.yaml")
    (root / ".gitignore").write_text("/data\n")
    who = {"GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@b", "GIT_COMMITTER_NAME": "a"}
    who |= {"GIT_COMMITTER_EMAIL": "a@b", "GIT_COMMITTER_DATE": "2026-01-02T03:04:05Z"}
    for command in (["init", "-q"], ["add", "."], ["commit", "-qm", "results"]):
        subprocess.run(["git", *command], cwd=root, check=True, env={**os.environ, **who})
    return root


def complete(root: Path, uri: str, **more) -> int:
    return Importer(root / "data/checkpoints", uri, LABELS).complete(stored_runs(root), **more)


def test_an_empty_mlflow_gets_the_run_as_the_mirror_would_give_it(project, uri, finished):
    assert complete(project, uri) == 1
    client, run = only_run(uri)
    imported = points(client, run)
    assert (run.info.run_name, run.info.status) == ("t2t_vit_14-seed0", "FINISHED")
    assert {item.path for item in client.list_artifacts(run.info.run_id)} >= {
        "config.json", "metrics.jsonl",
    }  # fmt: skip
    assert len(run.outputs.model_outputs) == 1
    expected = {"row": "t2t_vit_14", "scale": "tiny", "seed": "0", "history": "imported"}
    expected |= {"digest": finished[1]["digest"], "dvc_digest": "abc.dir", "title": "T2T-ViT-14"}
    assert expected.items() <= run.data.tags.items()
    assert FIGURES.items() <= run.data.metrics.items()
    # The commit that recorded the result is what is known of its time.
    assert run.info.start_time == 1767323045000
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=project, capture_output=True, text=True)
    assert run.data.tags["recorded_in"] == head.stdout.strip()
    params = run.data.params
    client.delete_run(run.info.run_id)

    shutil.copytree(finished[0] / "work", project / "data/checkpoints", dirs_exist_ok=True)
    record_evaluation(project / "data/checkpoints", finished[1], FIGURES, {})
    assert Mirror(project / "data/checkpoints", uri).deliver()
    client, live = only_run(uri)
    told = set(live.data.metrics) - {"images_per_s", "processes"}
    assert set(imported) == told and live.info.run_name == run.info.run_name
    assert live.data.params == params
    for key, history in points(client, live).items():
        if key in told:
            assert [(s, v) for s, _, v in history] == [(s, v) for s, _, v in imported[key]], key


def test_importing_again_adds_nothing(project, uri):
    assert complete(project, uri) == 1
    client, run = only_run(uri)
    before = points(client, run)
    assert complete(project, uri) == 0
    client, again = only_run(uri)
    assert again.info.run_id == run.info.run_id and points(client, again) == before
    assert len(again.outputs.model_outputs) == 1


def test_a_run_whose_evaluation_dvc_skipped_gets_its_figures(project, uri, finished):
    shutil.copytree(finished[0] / "work", project / "data/checkpoints", dirs_exist_ok=True)
    assert complete(project, uri) == 0, "its journal is still to tell of it"
    assert Mirror(project / "data/checkpoints", uri).deliver()
    assert "top1_pct" not in only_run(uri)[1].data.metrics
    assert complete(project, uri, only_known=True) == 1
    client, run = only_run(uri)
    assert FIGURES.items() <= run.data.metrics.items() and "history" not in run.data.tags
    assert [len(client.get_metric_history(run.info.run_id, key)) for key in FIGURES] == [1] * 8
    assert complete(project, uri) == 0


def test_nothing_unknown_is_imported_where_that_is_not_asked_for(project, uri):
    assert complete(project, uri, only_known=True) == 0


def test_an_imported_run_gives_way_to_the_journals(project, uri, finished):
    complete(project, uri)
    shutil.copytree(finished[0] / "work", project / "data/checkpoints", dirs_exist_ok=True)
    assert Mirror(project / "data/checkpoints", uri).deliver()
    client, run = only_run(uri)
    assert "history" not in run.data.tags and run.data.tags["git_commit"] == "abc"
    assert all(len(history) == 4 for history in points(client, run).values())
    assert complete(project, uri) == 1, "the evaluation"
    assert only_run(uri)[1].data.metrics["top1_pct"] == 97.5


def test_a_workspace_that_knows_the_evaluation_alone_gets_its_history(project, uri, finished):
    """What an evaluation after `dvc pull` leaves."""
    workspace = workspace_of(project / "data/checkpoints", finished[1]["digest"])
    shutil.copytree(finished[0] / "work" / workspace.name, workspace)
    shutil.rmtree(workspace / "result")
    (workspace / JOURNAL).unlink()
    Journal(workspace / JOURNAL).append("evaluation", 0, metrics=FIGURES, tags={})
    assert Mirror(project / "data/checkpoints", uri).deliver()
    assert complete(project, uri) == 1
    client, run = only_run(uri)
    histories = points(client, run)
    assert len(histories["val_top1_pct"]) == 4 and len(histories["top1_pct"]) == 1


def test_labels_follow_params(project, uri):
    complete(project, uri)
    root = project / "data/checkpoints"
    renamed = {"t2t_vit_14": {"title": "Another"}}
    Importer(root, uri, renamed).complete(stored_runs(project))
    assert only_run(uri)[1].data.tags["title"] == "Another"


def test_a_run_that_git_does_not_know_has_its_files_time(project, uri):
    shutil.rmtree(project / ".git")
    config = project / "data/runs/tiny/t2t_vit_14/seed_0/config.json"
    os.utime(config, (1_700_000_000, 1_700_000_000))
    complete(project, uri)
    run = only_run(uri)[1]
    assert run.info.start_time == 1_700_000_000_000 and "recorded_in" not in run.data.tags


def test_follower_delivers_what_is_written_meanwhile_and_ends_with_its_input(
    project, uri, finished
):
    shutil.copytree(finished[0] / "work", project / "data/checkpoints", dirs_exist_ok=True)
    (journal,) = project.glob(f"data/checkpoints/*/{JOURNAL}")
    with subprocess.Popen(
        [sys.executable, "-m", "pipelines.follow", str(project)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        cwd=ROOT,
        env={**os.environ, "MLFLOW_TRACKING_URI": uri, "OMP_NUM_THREADS": "1"},
    ) as process:
        Journal(journal).append("epoch", 1000, metrics={"val_top1_pct": 50.0})
        assert process.stdin is not None and process.stderr is not None
        process.stdin.close()
        said = process.stderr.read().decode()
        assert process.wait(90) == 0, said
    _, run = only_run(uri)
    assert run.data.metrics["val_top1_pct"] == 50.0
    assert run.data.metrics["top1_pct"] == 97.5, "of the evaluation that DVC did not repeat"
    assert run.data.tags["paper_top1_pct"] == "81.5"
