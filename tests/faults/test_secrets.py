"""Secrets of the environment, planted: none of them ends in a file that a project makes."""

import shutil
import subprocess
import sys

import pytest

from pipelines.flows.pages import result_page
from tests.e2e.project import Project

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600), pytest.mark.faults("planted secrets")]
SECRET = "planted{}secret"
VARIABLES = (
    *("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "MLFLOW_TRACKING_PASSWORD"),
    *("MLFLOW_TRACKING_TOKEN", "HF_TOKEN", "WANDB_API_KEY", "PREFECT_API_KEY", "GITHUB_TOKEN"),
    *("PREFECT_SERVER_API_AUTH_STRING", "DATABASE_URL", "SOME_PASSWORD"),
)


def test_no_secret_is_written_anywhere(tmp_path, migrated, tally):
    """A row is trained, reported, and mirrored to a server that is gone and to one that is not."""
    project = Project.created(tmp_path / "project")
    git = ["git", "-C", str(project.folder)]
    remote = f"https://user:{SECRET.format('Remote')}@example.invalid/t2t.git"
    subprocess.run([*git, "remote", "add", "origin", remote], check=True)
    secrets = {name: SECRET.format(number) for number, name in enumerate(VARIABLES)}
    project.environment |= secrets
    address = f"http://user:{SECRET.format('Address')}@127.0.0.1:9/path"
    database = project.environment["MLFLOW_TRACKING_URI"]
    project.environment["MLFLOW_TRACKING_URI"] = address
    project.repro("evaluate@t2t_vit_14")
    said = [project.dvc("repro", "--single-item", "report")]
    said.append(track(project))
    assert said[-1].returncode == 4 and "has not got everything" in said[-1].stderr
    (project.folder / "data" / "mlflow").mkdir(exist_ok=True)
    shutil.copyfile(migrated, project.folder / "data" / "mlflow" / "mlflow.db")
    project.environment["MLFLOW_TRACKING_URI"] = database
    said.append(track(project))
    assert said[-1].returncode == 0, said[-1].stderr
    assert list(project.folder.glob("data/mlflow/artifacts/**/*.pt2"))

    values = [b"planted%bsecret" % part.encode() for part in ("Remote", "Address")]
    values += [value.encode() for value in secrets.values()]
    texts = [(answer.stdout + answer.stderr).encode() for answer in said]
    config = project.folder / ".git" / "config"  # where the remote's own stands
    files = [p for p in project.folder.rglob("*") if p.is_file() and p != config]
    assert len(files) > 200
    found = [str(path) for path in files if contains(path.read_bytes(), values)]
    assert not found and not any(contains(text, values) for text in texts)
    tally.plan(len(values))
    for _ in values:
        tally.add(True)


def test_no_page_of_a_flow_shows_the_password_of_mlflows_address(tmp_path, monkeypatch):
    secret = SECRET.format("Address")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://user:{secret}@127.0.0.1:9/path")
    page = result_page(tmp_path, "digits", tmp_path)
    assert "http://127.0.0.1:9/path/#/experiments" in page and secret not in page


def contains(content: bytes, values: list[bytes]) -> bool:
    return any(value in content for value in values)


def track(project: Project) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pipelines.track"], cwd=project.folder, env=project.environment,
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
