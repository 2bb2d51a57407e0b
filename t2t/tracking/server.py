"""What is written to an MLflow server; with the modules beside it, all that imports mlflow."""

import json
from collections.abc import Iterable, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from t2t.tracking.view import save_view

_POINTS_A_CALL = 1000
_PATIENCE_S = 5


def experiment_id(client: Any, name: str) -> str:
    """The experiment `name`, made where it is absent."""
    from mlflow.exceptions import MlflowException

    experiment = client.get_experiment_by_name(name)
    if experiment is not None:
        return experiment.experiment_id
    location = None
    if client.tracking_uri.startswith("sqlite:///"):
        # Without a server MLflow would put artifacts below the working directory.
        database = Path(client.tracking_uri.removeprefix("sqlite:///"))
        location = (database.parent / "artifacts" / name).as_uri()
    try:
        made = client.create_experiment(
            name,
            artifact_location=location,
            tags={"mlflow.experimentKind": "custom_model_development"},
        )
        save_view(client, made)
        return made
    except MlflowException:  # another mirror was first
        experiment = client.get_experiment_by_name(name)
        if experiment is None:
            raise
        return experiment.experiment_id


def experiment_told(uri: str, name: str) -> str | None:
    """The id of the experiment `name`, None where the server does not say so within seconds.

    Asked with whatever MLflow's own client signs in with, which would ask for minutes.
    """
    from mlflow.exceptions import MlflowException
    from mlflow.utils.credentials import get_default_host_creds
    from mlflow.utils.rest_utils import http_request

    try:
        answer: Any = http_request(
            get_default_host_creds(uri),
            "/api/2.0/mlflow/experiments/get-by-name",
            "GET",
            max_retries=0,
            timeout=_PATIENCE_S,
            params={"experiment_name": name},
        )
        return str(answer.json()["experiment"]["experiment_id"])
    except (MlflowException, OSError, ValueError, KeyError):
        return None


def run_of_digest(client: Any, experiment: str, digest: str) -> Any | None:
    """The run with this digest, None where there is none."""
    found = client.search_runs([experiment], f"tags.digest = '{digest}'", max_results=1)
    return found[0] if found else None


def has_run(client: Any, run_id: str) -> bool:
    """Whether the server has this run, and not among the deleted ones."""
    from mlflow.exceptions import MlflowException

    try:
        return client.get_run(run_id).info.lifecycle_stage == "active"
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return False
        raise


def the_run(client: Any, experiment: str, record: Mapping[str, Any]) -> str:
    """The id of the only run with the digest of `record` (run.json), made where there is none.

    A request whose answer was lost is sent again by MLflow's client, so that a run may have been
    made more than once; nothing has been logged to any of them yet, and one is kept.
    """
    from mlflow.entities import Param

    own = f"tags.digest = '{record['tags']['digest']}'"
    if not client.search_runs([experiment], own, max_results=1):
        start, name = record["start_ms"], record["name"]
        client.create_run(experiment, start_time=start, tags=record["tags"], run_name=name)
    run_id, *doubles = sorted(run.info.run_id for run in client.search_runs([experiment], own))
    for double in doubles:
        client.delete_run(double)
    # To log these again adds nothing.
    params = [Param(key, str(value)) for key, value in record["params"].items()]
    client.log_batch(run_id, params=params)
    client.log_inputs(run_id, [_dataset_input(*item) for item in record["datasets"].items()])
    return run_id


def _dataset_input(context: str, data: Mapping[str, str]) -> Any:
    from mlflow.entities import Dataset, DatasetInput, InputTag

    source = json.dumps({"uri": data["path"]})
    dataset = Dataset(data["name"], data["sha256"][:32], source_type="local", source=source)
    return DatasetInput(dataset, [InputTag("mlflow.data.context", context)])


def log_points(client: Any, run_id: str, events: Iterable[Mapping[str, Any]]) -> None:
    """Logs the `metrics` and `timing` of events, each at its `step` and `time_ms`."""
    from mlflow.entities import Metric

    points = iter(
        Metric(key, value, event["time_ms"], event["step"])
        for event in events
        for key, value in {**event.get("metrics", {}), **event.get("timing", {})}.items()
    )
    while batch := list(islice(points, _POINTS_A_CALL)):
        client.log_batch(run_id, metrics=batch)


def set_tags(client: Any, run: Any, tags: Mapping[str, str]) -> None:
    """Gives `run` those of `tags` that it has not, or has otherwise."""
    for key, value in tags.items():
        if run.data.tags.get(key) != value:
            client.set_tag(run.info.run_id, key, value)


def log_result(client: Any, run_id: str, result: Path) -> None:
    """Logs a finished run's files and its model."""
    for name in ("config.json", "metrics.jsonl"):
        client.log_artifact(run_id, str(result / name))
    if _the_model(client, run_id) is None:
        _log_model(client.tracking_uri, run_id, result)
        _the_model(client, run_id)


def _the_model(client: Any, run_id: str) -> str | None:
    """The run's only whole model; what an interrupted upload has left is deleted."""
    from mlflow.entities import LoggedModelStatus

    experiment = client.get_run(run_id).info.experiment_id
    models = client.search_logged_models([experiment], f"source_run_id = '{run_id}'")
    whole = sorted(m.model_id for m in models if m.status == LoggedModelStatus.READY)
    for model in models:
        if model.model_id not in whole[:1]:
            client.delete_logged_model(model.model_id)
    return whole[0] if whole else None


def _log_model(tracking_uri: str, run_id: str, result: Path) -> None:
    """Logs the averaged weights as a pickle-free `pt2` program for any batch size."""
    import mlflow
    import numpy as np
    import torch
    from mlflow.models import ModelSignature
    from mlflow.types import Schema, TensorSpec
    from safetensors.torch import load_file

    from t2t.training.config import network_of

    config = json.loads((result / "config.json").read_text())
    model = network_of(config).eval()
    model.load_state_dict(load_file(result / "ema.safetensors"))
    size, classes = config["image_size"], config["num_classes"]
    example = np.zeros((2, 3, size, size), np.float32)
    kind = np.dtype(np.float32)
    signature = ModelSignature(
        Schema([TensorSpec(kind, (-1, 3, size, size))]),
        Schema([TensorSpec(kind, (-1, classes))]),
    )
    mlflow.set_tracking_uri(tracking_uri)
    with torch.no_grad(), mlflow.start_run(run_id=run_id):
        mlflow.pytorch.log_model(  # pyright: ignore[reportPrivateImportUsage]
            model,
            name="model",
            input_example=example,
            signature=signature,
            serialization_format="pt2",
            pip_requirements=[f"torch=={torch.__version__.partition('+')[0]}"],
            metadata={"channel_mean": config["channel_mean"], "channel_std": config["channel_std"]},
        )
