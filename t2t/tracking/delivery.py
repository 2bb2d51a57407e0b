"""What a run owes to an MLflow server, and how it gets there; this package alone imports mlflow.

What was delivered is written down per server and run; what could not be is delivered by whoever
comes next, once: a run is found again by its digest, and a point carries the time it was made.
"""

import json
import re
from itertools import islice
from pathlib import Path
from typing import Any

from t2t.files import SEAL, is_sealed, sealed, write_json
from t2t.training.journal import read_journal
from t2t.training.record import EVALUATION, JOURNAL, read_run_record
from t2t.training.workspace import RESULT, is_finished

SYSTEM_JOURNAL = "system.jsonl"
_POINTS_A_CALL = 1000


class Delivery:
    """What one workspace still owes to one tracking server."""

    def __init__(self, folder: Path, tracking_uri: str):
        self.folder = folder
        self.uri = tracking_uri
        self._ledger_path = folder / "mirror.json"
        self._ledger = _ledger_at(self._ledger_path)
        self._done: dict[str, Any] = self._ledger.setdefault(public_uri(tracking_uri), {})

    def owed(self) -> list[tuple[str, list[dict[str, Any]]]]:
        """Journals with the events that were not delivered yet."""
        found = []
        for name in (JOURNAL, SYSTEM_JOURNAL):
            events = list(islice(read_journal(self.folder / name), self._done.get(name, 0), None))
            if events:
                found.append((name, events))
        return found

    def is_owed(self) -> bool:
        """Whether there is anything to deliver."""
        return self._owes_result() or bool(self.owed())

    def _owes_result(self) -> bool:
        return is_finished(self.folder) and not self._done.get("model")

    def deliver(self) -> None:
        """Brings the server up to date. Raises what MLflow raises where that cannot be done."""
        from mlflow import MlflowClient

        client = MlflowClient(self.uri)
        for name, events in self.owed():
            run_id = self._run_id(client)
            _log_points(client, run_id, events)
            for event in events:
                for key, value in event.get("tags", {}).items():
                    client.set_tag(run_id, key, value)
                if event["kind"] == EVALUATION and not is_finished(self.folder):
                    client.set_terminated(run_id, "FINISHED", event["time_ms"])
            self._note(name, self._done.get(name, 0) + len(events))
        if self._owes_result():
            self._deliver_result(client, self._run_id(client))
            self._note("model", True)

    def _run_id(self, client: Any) -> str:
        if "run_id" in self._done:
            return self._done["run_id"]
        record = read_run_record(self.folder)
        run_id = _the_run(client, record)
        _describe_run(client, run_id, record)
        self._note("run_id", run_id)
        return run_id

    def _deliver_result(self, client: Any, run_id: str) -> None:
        result = self.folder / RESULT
        for name in ("config.json", "metrics.jsonl"):
            client.log_artifact(run_id, str(result / name))
        if _the_model(client, run_id) is None:
            _log_model(self.uri, run_id, result)
            _the_model(client, run_id)
        trained = [
            event["time_ms"]
            for event in read_journal(self.folder / JOURNAL)
            if event["kind"] != EVALUATION
        ]
        client.set_terminated(run_id, "FINISHED", trained[-1])

    def _note(self, key: str, value: Any) -> None:
        self._done[key] = value
        write_json(self._ledger_path, sealed(self._ledger))


def public_uri(uri: str) -> str:
    """`uri` without the user and password that it may hold, as it may be written down and shown."""
    return re.sub(r"(?<=://)[^/@]*@", "", uri)


def _ledger_at(path: Path) -> dict[str, Any]:
    """What was delivered, by server. A damaged ledger is as good as none: nothing is doubled."""
    try:
        ledger = json.loads(path.read_text())
        sound = is_sealed(ledger)
    except (OSError, ValueError, AttributeError):
        return {}
    return {key: value for key, value in ledger.items() if key != SEAL} if sound else {}


def _experiment_id(client: Any, name: str) -> str:
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
        return client.create_experiment(
            name,
            artifact_location=location,
            tags={"mlflow.experimentKind": "custom_model_development"},
        )
    except MlflowException:  # another mirror was first
        experiment = client.get_experiment_by_name(name)
        if experiment is None:
            raise
        return experiment.experiment_id


def _the_run(client: Any, record: dict[str, Any]) -> str:
    """The only run with the record's digest, made where there is none.

    A request whose answer was lost is sent again by MLflow's client, so that a run may have been
    made more than once; nothing has been logged to any of them yet, and one is kept.
    """
    experiment_id = _experiment_id(client, record["experiment"])
    own = f"tags.digest = '{record['tags']['digest']}'"
    if not client.search_runs([experiment_id], own, max_results=1):
        start, name = record["start_ms"], record["name"]
        client.create_run(experiment_id, start_time=start, tags=record["tags"], run_name=name)
    first, *doubles = sorted(run.info.run_id for run in client.search_runs([experiment_id], own))
    for double in doubles:
        client.delete_run(double)
    return first


def _describe_run(client: Any, run_id: str, record: dict[str, Any]) -> None:
    """Logs parameters and data sets; to do so again adds nothing."""
    from mlflow.entities import Param

    params = [Param(key, str(value)) for key, value in record["params"].items()]
    client.log_batch(run_id, params=params)
    client.log_inputs(run_id, [_dataset_input(*item) for item in record["datasets"].items()])


def _dataset_input(context: str, data: dict[str, str]) -> Any:
    from mlflow.entities import Dataset, DatasetInput, InputTag

    source = json.dumps({"uri": data["path"]})
    dataset = Dataset(data["name"], data["sha256"][:32], source_type="local", source=source)
    return DatasetInput(dataset, [InputTag("mlflow.data.context", context)])


def _log_points(client: Any, run_id: str, events: list[dict[str, Any]]) -> None:
    from mlflow.entities import Metric

    points = [
        Metric(key, value, event["time_ms"], event["step"])
        for event in events
        for key, value in {**event.get("metrics", {}), **event.get("timing", {})}.items()
    ]
    for start in range(0, len(points), _POINTS_A_CALL):
        client.log_batch(run_id, metrics=points[start : start + _POINTS_A_CALL])


def _the_model(client: Any, run_id: str) -> str | None:
    """The run's only whole model; what an interrupted upload has left is deleted."""
    from mlflow.entities import LoggedModelStatus

    experiment_id = client.get_run(run_id).info.experiment_id
    models = client.search_logged_models([experiment_id], f"source_run_id = '{run_id}'")
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
