"""An empty MLflow database, made once."""

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
