"""An MLflow of its own for each test."""

import shutil
import warnings

import pytest


@pytest.fixture(scope="session")
def migrated(tmp_path_factory):
    """An empty MLflow database: its migrations take seconds, a copy of it does not."""
    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from mlflow import MlflowClient

        MlflowClient(f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture
def uri(migrated, tmp_path, monkeypatch):
    from pipelines.environment import SETTINGS

    for name, value in SETTINGS.items():
        monkeypatch.setenv(name, value)
    path = tmp_path / "mlflow" / "mlflow.db"
    path.parent.mkdir()
    shutil.copyfile(migrated, path)
    return f"sqlite:///{path}"
