"""What a run leaves in its workspace for trackers: who it is, and its journal."""

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from t2t.errors import DataError
from t2t.files import is_sealed, sealed, write_json
from t2t.training.config import TRAIN_SHARD
from t2t.training.journal import Journal, read_journal
from t2t.training.workspace import workspace_of

RUN_RECORD = "run.json"
JOURNAL = "journal.jsonl"
EVALUATION = "evaluation"
_SHOWN = (
    "row",
    "seed",
    "data_set",
    "variant",
    "image_size",
    "num_classes",
    "width_factor",
    "depth_factor",
    "cpu_threads",
)


def record_run(
    workspaces: Path, resolved: Mapping[str, Any], tags: Mapping[str, str], shards: Path
) -> None:
    """Leaves a run's name, parameters, tags and data sets in its workspace, once.

    resolved: the content of the run's config.json.
    """
    path = workspace_of(workspaces, resolved["digest"]) / RUN_RECORD
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    named = {key: str(resolved[key]) for key in ("row", "scale", "seed", "digest")}
    record = {
        "experiment": resolved["scale"],
        "name": f"{resolved['row']}-seed{resolved['seed']}",
        "start_ms": time.time_ns() // 1_000_000,
        "params": {
            **{key: resolved[key] for key in _SHOWN},
            **resolved["recipe"],
            **resolved["overrides"],
        },
        "tags": {**tags, **named},
        "datasets": {
            context: {
                "name": f"{resolved['data_set']}-{split}",
                "sha256": resolved["shards"][split],
                "path": str(shards / shard),
            }
            for context, split, shard in (
                ("training", "train", TRAIN_SHARD),
                ("validation", "val", resolved["val_shard"]),
            )
        },
    }
    write_json(path, sealed(record))


def read_run_record(folder: Path) -> dict[str, Any]:
    """What `record_run` left in the workspace `folder`. Raises DataError for a damaged file."""
    path = folder / RUN_RECORD
    try:
        record = json.loads(path.read_text())
        sound = is_sealed(record)
    except (OSError, ValueError, AttributeError) as error:
        raise DataError(f"{path}: unreadable ({error}); delete {folder}") from None
    if not sound:
        raise DataError(f"{path}: changed since it was written; delete {folder}")
    return record


def record_evaluation(
    workspaces: Path,
    resolved: Mapping[str, Any],
    metrics: Mapping[str, float],
    tags: Mapping[str, str],
) -> None:
    """Adds an evaluation to a run's journal, unless the newest one there says the same."""
    path = workspace_of(workspaces, resolved["digest"]) / JOURNAL
    known = [event for event in read_journal(path) if event["kind"] == EVALUATION]
    if not known or known[-1]["metrics"] != metrics:
        Journal(path).append(EVALUATION, len(known), metrics=dict(metrics), tags=dict(tags))
