"""The finished runs of a row, read only where every file is what training wrote."""

import json
from pathlib import Path
from typing import Any, NamedTuple

from t2t.errors import DataError
from t2t.training.workspace import check_run

# What may differ between the runs of one row.
_A_SEEDS_OWN = frozenset({"seed", "digest", "parent"})


class FinishedRun(NamedTuple):
    """A run's folder and its config.json."""

    folder: Path
    config: dict[str, Any]


def finished_runs(runs: Path) -> list[FinishedRun]:
    """The runs `seed_<k>` in the folder `runs`, by seed.

    Raises DataError where there is none, or where they are not one row's, trained alike with the
    seeds that the folders are named by; CheckpointError for files that are not what training wrote.
    """
    folders = {path.name.removeprefix("seed_"): path for path in runs.glob("seed_*")}
    if not folders:
        raise DataError(f"{runs}: holds no trained run; train the row first")
    for name, path in folders.items():
        if not name.isdecimal():
            raise DataError(f"{path}: no run's folder, they are called seed_<number>; move it away")
    found = [_finished(folders[name]) for name in sorted(folders, key=int)]
    for run in found:
        if run.folder.name != f"seed_{run.config['seed']}":
            raise DataError(
                f"{run.folder}: holds the run of seed {run.config['seed']}; train the row again"
            )
        if others := _differences(run.config, found[0].config):
            raise DataError(
                f"{run.folder} and {found[0].folder.name}: {', '.join(others)} differ, so they are "
                "not one row's; train the row again"
            )
    return found


def _finished(folder: Path) -> FinishedRun:
    check_run(folder)
    return FinishedRun(folder, json.loads((folder / "config.json").read_text()))


def _differences(config: dict[str, Any], other: dict[str, Any]) -> list[str]:
    keys = (config.keys() | other.keys()) - _A_SEEDS_OWN
    return sorted(key for key in keys if config.get(key) != other.get(key))
