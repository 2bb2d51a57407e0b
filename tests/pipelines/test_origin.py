"""Every figure leads to its run, commit, device and date."""

import json
import subprocess

import pytest

from pipelines.origin import origin
from t2t.errors import DataError
from t2t.training.journal import Journal

DIGEST = "5cf8213b8a59fcba" * 4


@pytest.fixture
def project(tmp_path):
    table = tmp_path / "reports/tiny/evaluations/vit_small.csv"
    table.parent.mkdir(parents=True)
    table.write_text(f"seed,top1_pct,digest\n0,97.5,{DIGEST}\n")
    (tmp_path / "dvc.lock").write_text(
        "stages:\n  t:\n    outs:\n    - path: data/runs/tiny/vit_small\n      md5: abc.dir\n"
    )
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    return tmp_path


def lines_of(project):
    return "\n".join(origin(project, project / "work", "tiny", "vit_small"))


def test_what_only_files_know(project):
    said = lines_of(project)
    for part in ("dvc md5 abc.dir", DIGEST, "MLflow run vit_small-seed0 of experiment tiny"):
        assert part in said
    assert "recorded by no commit yet" in said and "no journal here" in said
    assert "seed_0/config.json, after dvc pull" in said


def test_a_transfers_runs_lie_in_a_folder_of_their_own(project):
    table = project / "reports/tiny/transfers/cifar10_vit_small.csv"
    table.parent.mkdir()
    table.write_text(f"seed,top1_pct,digest\n0,90.5,{DIGEST}\n")
    runs = "data/transfers/tiny/cifar10_vit_small"
    (project / "dvc.lock").write_text(
        f"stages:\n  t:\n    outs:\n    - path: {runs}\n      md5: def.dir\n"
    )
    said = list(origin(project, project / "work", "tiny", "cifar10_vit_small"))
    assert f"  {runs}: dvc md5 def.dir" in said
    assert f"    configuration {runs}/seed_0/config.json, after dvc pull" in said


def test_commit_and_journal_are_found_by_the_digest(project):
    commit = ["git", "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "x"]
    for command in (["git", "add", "reports"], commit):
        subprocess.run(command, cwd=project, check=True)
    workspace = project / "work" / DIGEST[:32]
    workspace.mkdir(parents=True)
    tags = {"stage": "train@vit_small", "git_commit": "f00d"}
    (workspace / "run.json").write_text(json.dumps({"tags": tags}))
    Journal(workspace / "journal.jsonl").append("epoch", 1, metrics={}, device="Some GPU")
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=project, capture_output=True, text=True)
    said = lines_of(project)
    assert f"recorded by {head.stdout.strip()} of 20" in said
    assert "trained by train@vit_small at commit f00d" in said
    assert "on Some GPU, from 20" in said


def test_a_row_without_evaluation_is_an_error(project):
    with pytest.raises(DataError, match="vit_base was not evaluated at scale tiny"):
        list(origin(project, project / "work", "tiny", "vit_base"))
