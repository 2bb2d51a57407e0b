"""A finished run, to be shown in MLflow."""

import json
import shutil

import pytest

from t2t.training.run import train_run


@pytest.fixture(scope="session")
def finished(shards, tmp_path_factory):
    """A finished run's workspace, out folder and config."""
    from tests.runs import short_config

    folder = tmp_path_factory.mktemp("finished")
    config = short_config()
    train_run(config, shards, folder / "work", folder / "out", {"git_commit": "abc", "stage": "x"})
    return folder, json.loads((folder / "out" / "config.json").read_text())


@pytest.fixture
def work(finished, tmp_path):
    shutil.copytree(finished[0] / "work", tmp_path / "work")
    return tmp_path / "work"
