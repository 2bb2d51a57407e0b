"""Finished runs brought into MLflow from their files, where no journal tells of them.

So a lost database, or another machine after `dvc pull`, shows the same runs: the same names,
parameters, metrics with their history, artifacts and model.
"""

import fcntl
import json
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from t2t.errors import EnvironmentProblem, T2TError
from t2t.tracking.delivery import HISTORY, IMPORTED, Delivery, Labels, told
from t2t.tracking.server import experiment_id, log_points, log_result, set_tags, the_run
from t2t.tracking.view import save_view
from t2t.training.record import RUN_RECORD, record_run
from t2t.training.workspace import workspace_of

_PAGE = 1000


@dataclass(frozen=True)
class Recorded:
    """When a result was recorded, in ms since 1970, and what is known of it, as tags."""

    time_ms: int
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class StoredRun:
    """A run's folder of files, its figures of the evaluation (none before that), and its origin.

    `recorded` is only called where it is needed, as it may take a while.
    """

    folder: Path
    config: Mapping[str, Any]
    figures: Mapping[str, float]
    recorded: Callable[[], Recorded]
    shards: Path


class Importer:
    """Adds to one tracking server what it lacks of finished runs; `root` is the workspaces'."""

    def __init__(self, root: Path, tracking_uri: str, labels: Labels):
        self._root = root
        self._uri = tracking_uri
        self._labels = labels

    def complete(self, runs: Iterable[StoredRun], *, only_known: bool = False) -> int:
        """Imports runs, evaluations, histories and models that are missing; how many runs gained.

        With `only_known` no run is made that the server has not. One importer is at work at a
        time. Raises EnvironmentProblem where MLflow does not do its part.
        """
        try:
            return self._import(runs, only_known)
        except T2TError:
            raise
        except Exception as error:  # from None, as its text may hold the address with its password
            raise EnvironmentProblem(told(error, self._uri)) from None

    def _import(self, runs: Iterable[StoredRun], only_known: bool) -> int:
        from mlflow import MlflowClient

        client = MlflowClient(self._uri)
        by_scale: dict[str, list[StoredRun]] = {}
        for run in runs:
            by_scale.setdefault(run.config["scale"], []).append(run)
        with open(self._root / "import.lock", "w", encoding="utf-8") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX)
            gained = 0
            for scale, members in by_scale.items():
                experiment = experiment_id(client, scale)
                known = _runs_by_digest(client, experiment)
                for run in members:
                    there = known.get(run.config["digest"])
                    if there or not only_known:
                        gained += self._complete(client, experiment, run, there)
                self._label(client, known.values())
                save_view(client, experiment)
        return gained

    def _complete(self, client: Any, experiment: str, run: StoredRun, known: Any) -> bool:
        """Whether the server lacked something of `run`; it has it then."""
        if self._is_awaited(run):
            return False
        metrics = known.data.metrics if known else {}
        trained = (run.folder / "metrics.jsonl").stat().st_size > 0  # not so published weights
        lacks_history = trained and "val_top1_pct" not in metrics
        lacks_figures = bool(run.figures) and "top1_pct" not in metrics
        lacks_model = known is None or not _has_model(client, known)
        if not (lacks_history or lacks_figures or lacks_model):
            return False
        recorded = run.recorded()
        if known is None:
            run_id = the_run(client, experiment, self._record(run, recorded))
        else:
            run_id = known.info.run_id
        if lacks_history:
            log_points(client, run_id, _history(run.folder, recorded.time_ms))
            client.set_tag(run_id, HISTORY, IMPORTED)
        if lacks_figures:
            event = {"step": 0, "time_ms": recorded.time_ms, "metrics": run.figures}
            log_points(client, run_id, [event])
        if lacks_model:
            log_result(client, run_id, run.folder)
        for key, value in recorded.tags.items():
            client.set_tag(run_id, key, value)
        if known is None or known.info.status == "RUNNING":
            client.set_terminated(run_id, "FINISHED", recorded.time_ms)
        return True

    def _is_awaited(self, run: StoredRun) -> bool:
        """Whether a journal is still to tell of the run, and better than its files can."""
        folder = workspace_of(self._root, run.config["digest"])
        return (folder / RUN_RECORD).exists() and Delivery(folder, self._uri, {}).is_owed()

    def _record(self, run: StoredRun, recorded: Recorded) -> dict[str, Any]:
        """What the training would have left in a workspace, at the time of the record."""
        with tempfile.TemporaryDirectory() as folder:
            record_run(Path(folder), run.config, {"stage": IMPORTED}, run.shards)
            path = workspace_of(Path(folder), run.config["digest"]) / RUN_RECORD
            record = json.loads(path.read_text())
        labels = self._labels.get(run.config["row"], {})
        return {
            **record,
            "start_ms": recorded.time_ms,
            "tags": {**labels, **record["tags"], **recorded.tags},
        }

    def _label(self, client: Any, runs: Iterable[Any]) -> None:
        for run in runs:
            set_tags(client, run, self._labels.get(run.data.tags.get("row", ""), {}))


def _has_model(client: Any, run: Any) -> bool:
    outputs = client.get_run(run.info.run_id).outputs
    return bool(outputs and outputs.model_outputs)


def _runs_by_digest(client: Any, experiment: str) -> dict[str, Any]:
    found, token = {}, None
    while True:
        page = client.search_runs([experiment], max_results=_PAGE, page_token=token)
        found |= {run.data.tags["digest"]: run for run in page if "digest" in run.data.tags}
        token = page.token
        if not token:
            return found


def _history(folder: Path, time_ms: int) -> Iterable[dict[str, Any]]:
    """The epochs in metrics.jsonl as a journal's events."""
    for line in (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines():
        metrics = json.loads(line)
        yield {"step": metrics.pop("step"), "time_ms": time_ms, "metrics": metrics}
