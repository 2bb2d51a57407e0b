"""MLflow as a mirror of finished and running work; the only file that imports mlflow.

It follows the journals below a folder of workspaces from a process of its own, so that a tracking
server that is slow or gone costs training nothing. What was delivered is written down per server
and run; what could not be is delivered by whichever mirror comes next, once: a run is found again
by its digest, and a point carries the time at which it was made.

Command: `python -m t2t.training.tracking FOLDER` follows until its standard input ends.
"""

import contextlib
import fcntl
import json
import os
import select
import sys
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from t2t.training.journal import Journal, read_journal
from t2t.training.record import EVALUATION, JOURNAL, RUN_RECORD
from t2t.training.workspace import RESULT, is_finished, write_json

SYSTEM_JOURNAL = "system.jsonl"
POLL_S = 2.0
SYSTEM_SAMPLE_S = 5.0
RETRY_AFTER_S = 60.0
_POINTS_A_CALL = 1000


class Delivery:
    """What one workspace still owes to one tracking server."""

    def __init__(self, folder: Path, tracking_uri: str):
        self.folder = folder
        self.uri = tracking_uri
        self._ledger_path = folder / "mirror.json"
        ledger = json.loads(self._ledger_path.read_text()) if self._ledger_path.exists() else {}
        self._ledger = ledger
        self._done: dict[str, Any] = ledger.setdefault(tracking_uri, {})

    def owed(self) -> list[tuple[str, list[dict[str, Any]]]]:
        """Journals with the events that were not delivered yet."""
        found = []
        for name in (JOURNAL, SYSTEM_JOURNAL):
            events = list(islice(read_journal(self.folder / name), self._done.get(name, 0), None))
            if events:
                found.append((name, events))
        return found

    def owes_result(self) -> bool:
        """Whether the run is finished and its files were not delivered yet."""
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
                if event["kind"] == EVALUATION:
                    client.set_terminated(run_id, "FINISHED", event["time_ms"])
            self._note(name, self._done.get(name, 0) + len(events))
        if self.owes_result():
            self._deliver_result(client, self._run_id(client))
            self._note("model", True)

    def _run_id(self, client: Any) -> str:
        if "run_id" in self._done:
            return self._done["run_id"]
        record = json.loads((self.folder / RUN_RECORD).read_text())
        experiment_id = _experiment_id(client, record["experiment"])
        digest = record["tags"]["digest"]
        known = client.search_runs([experiment_id], f"tags.digest = '{digest}'", max_results=1)
        run_id = known[0].info.run_id if known else _create_run(client, experiment_id, record)
        self._note("run_id", run_id)
        return run_id

    def _deliver_result(self, client: Any, run_id: str) -> None:
        result = self.folder / RESULT
        for name in ("config.json", "metrics.jsonl"):
            client.log_artifact(run_id, str(result / name))
        _log_model(self.uri, run_id, result)
        last_ms = max(event["time_ms"] for event in read_journal(self.folder / JOURNAL))
        client.set_terminated(run_id, "FINISHED", last_ms)

    def _note(self, key: str, value: Any) -> None:
        self._done[key] = value
        write_json(self._ledger_path, self._ledger)


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
        return client.create_experiment(name, artifact_location=location)
    except MlflowException:  # another mirror was first
        experiment = client.get_experiment_by_name(name)
        if experiment is None:
            raise
        return experiment.experiment_id


def _create_run(client: Any, experiment_id: str, record: dict[str, Any]) -> str:
    from mlflow.data.meta_dataset import MetaDataset
    from mlflow.data.sources import LocalArtifactDatasetSource
    from mlflow.entities import DatasetInput, InputTag, Param

    run = client.create_run(
        experiment_id, start_time=record["start_ms"], tags=record["tags"], run_name=record["name"]
    )
    run_id = run.info.run_id
    params = [Param(key, str(value)) for key, value in record["params"].items()]
    client.log_batch(run_id, params=params)
    for context, data in record["datasets"].items():
        source = LocalArtifactDatasetSource(data["path"])
        dataset = MetaDataset(source, name=data["name"], digest=data["sha256"][:32])
        entity = DatasetInput(dataset._to_mlflow_entity(), [InputTag("mlflow.data.context", context)])
        client.log_inputs(run_id, [entity])
    return run_id


def _log_points(client: Any, run_id: str, events: list[dict[str, Any]]) -> None:
    from mlflow.entities import Metric

    points = [
        Metric(key, value, event["time_ms"], event["step"])
        for event in events
        for key, value in {**event.get("metrics", {}), **event.get("timing", {})}.items()
    ]
    for start in range(0, len(points), _POINTS_A_CALL):
        client.log_batch(run_id, metrics=points[start : start + _POINTS_A_CALL])


def _log_model(tracking_uri: str, run_id: str, result: Path) -> None:
    """Logs the averaged weights as a pickle-free `pt2` program, any batch size, with its signature."""
    import mlflow
    import numpy as np
    import torch
    from mlflow.models import ModelSignature
    from mlflow.types import Schema, TensorSpec
    from safetensors.torch import load_file

    from t2t.training.run import network_of

    config = json.loads((result / "config.json").read_text())
    model = network_of(config).eval()
    model.load_state_dict(load_file(result / "ema.safetensors"))
    size, classes = config["image_size"], config["num_classes"]
    example = np.zeros((2, 3, size, size), np.float32)
    kind = np.dtype(np.float32)
    signature = ModelSignature(
        Schema([TensorSpec(kind, (-1, 3, size, size), "normalised_images")]),
        Schema([TensorSpec(kind, (-1, classes), "logits")]),
    )
    mlflow.set_tracking_uri(tracking_uri)
    with torch.no_grad(), mlflow.start_run(run_id=run_id):
        mlflow.pytorch.log_model(
            model,
            name="model",
            input_example=example,
            signature=signature,
            serialization_format="pt2",
            pip_requirements=[f"torch=={torch.__version__.partition('+')[0]}"],
            metadata={"channel_mean": config["channel_mean"], "channel_std": config["channel_std"]},
        )


@contextlib.contextmanager
def _only_mirror(folder: Path) -> Iterator[bool]:
    with open(folder / "mirror.lock", "w", encoding="utf-8") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True


class Mirror:
    """Delivers whatever the workspaces below `root` owe, and gives a dead server time to return."""

    def __init__(self, root: Path, tracking_uri: str):
        self.root = root
        self.uri = tracking_uri
        self.problem: str | None = None
        self._retry_at = 0.0

    def workspaces(self) -> list[Path]:
        """Folders of runs, those that began last at the end."""
        return sorted(record.parent for record in self.root.glob(f"*/{RUN_RECORD}"))

    def deliver(self) -> bool:
        """One pass over all workspaces; False where something is still owed."""
        if time.monotonic() < self._retry_at:
            return False
        for folder in self.workspaces():
            with _only_mirror(folder) as ours:
                if not ours:
                    continue
                try:
                    delivery = Delivery(folder, self.uri)
                    if delivery.owed() or delivery.owes_result():
                        delivery.deliver()
                except Exception as error:  # a tracker's trouble, whatever it is, is not ours
                    self.problem = f"{type(error).__name__}: {error}".splitlines()[0]
                    self._retry_at = time.monotonic() + RETRY_AFTER_S
                    return False
        self.problem = None
        return True


class SystemSampler:
    """Writes the machine's load into the journals of the runs that are under way."""

    def __init__(self) -> None:
        from mlflow.system_metrics.metrics.cpu_monitor import CPUMonitor
        from mlflow.system_metrics.metrics.gpu_monitor import GPUMonitor

        self._monitors: list[Any] = [CPUMonitor()]
        with contextlib.suppress(Exception):  # no NVIDIA library, no GPU
            self._monitors.append(GPUMonitor())
        self._due = 0.0

    def sample(self, folders: list[Path]) -> None:
        """Appends one sample to each unfinished run of `folders`, every SYSTEM_SAMPLE_S at most."""
        if time.monotonic() < self._due:
            return
        self._due = time.monotonic() + SYSTEM_SAMPLE_S
        metrics = {}
        for monitor in self._monitors:
            monitor.collect_metrics()
            metrics |= {f"system/{key}": value for key, value in monitor.aggregate_metrics().items()}
            monitor.clear_metrics()
        for folder in folders:
            path = folder / SYSTEM_JOURNAL
            Journal(path).append("system", sum(1 for _ in read_journal(path)), metrics=metrics)


def _under_way(folder: Path) -> bool:
    """Whether a trainer holds the workspace."""
    with open(folder / "lock", "a", encoding="utf-8") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def follow(root: Path, tracking_uri: str) -> None:
    """Mirrors until standard input ends, which it also does when the process behind it dies."""
    mirror, sampler = Mirror(root, tracking_uri), SystemSampler()
    while not select.select([sys.stdin], [], [], POLL_S)[0]:
        sampler.sample([folder for folder in mirror.workspaces() if _under_way(folder)])
        mirror.deliver()
    if not mirror.deliver():
        print(f"MLflow at {tracking_uri} has not got everything yet: {mirror.problem}")


def main() -> None:
    """Follows the workspaces below the folder in argv, towards MLFLOW_TRACKING_URI."""
    follow(Path(sys.argv[1]), os.environ["MLFLOW_TRACKING_URI"])


if __name__ == "__main__":
    main()
