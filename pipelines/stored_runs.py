"""Finished runs as DVC's outputs and git have them, for MLflow to be rebuilt from."""

import csv
import functools
import json
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from pipelines.recorded import dvc_digests
from t2t.tracking.imports import Recorded, StoredRun

# Figures of a row that hold for each of its seeds.
_OF_THE_NETWORK = ("params_m", "params_trainable_m", "macs_g")
# By the folder of runs, below `data`: where a scale's reports have a line for each seed, and the
# summary over them.
REPORTS = {"runs": ("evaluations", "metrics"), "transfers": ("transfers", "transfers")}


def stored_runs(root: Path) -> Iterator[StoredRun]:
    """Every run of a row or a transfer in the project in `root`."""
    # The lock file takes seconds to read, and is asked for by few: once, at the first question.
    digests = functools.cache(lambda: dvc_digests(root / "dvc.lock"))
    for kind, folders in REPORTS.items():
        for path in sorted((root / "data" / kind).glob("*/*/seed_*/config.json")):
            config = json.loads(path.read_text(encoding="utf-8"))
            row_folder = path.parents[1]
            reports = root / "reports" / config["scale"]
            seeds = reports / folders[0] / f"{row_folder.name}.csv"
            summary = reports / folders[1] / f"{row_folder.name}.json"
            yield StoredRun(
                folder=path.parent,
                config=config,
                figures=_figures(seeds, summary, config["digest"]),
                recorded=functools.partial(_recorded, root, row_folder, seeds, config, digests),
                shards=Path("data") / "shards" / config["data_set"],
            )


def _figures(seeds: Path, summary: Path, digest: str) -> dict[str, float]:
    """What the evaluation found for the run with `digest`; empty before that."""
    if not (seeds.is_file() and summary.is_file()):
        return {}
    with seeds.open(encoding="utf-8", newline="") as stream:
        lines = [line for line in csv.DictReader(stream) if line["digest"] == digest]
    if not lines:
        return {}
    network = json.loads(summary.read_text(encoding="utf-8"))
    own = {k: float(v) for k, v in lines[0].items() if v and k not in ("seed", "digest")}
    return own | {key: network[key] for key in _OF_THE_NETWORK if key in network}


def _recorded(
    root: Path,
    row_folder: Path,
    seeds: Path,
    config: Mapping[str, Any],
    digests: Callable[[], Mapping[str, str]],
) -> Recorded:
    """The commit that brought the run's figures, and DVC's hash of its row's runs."""
    path = seeds.relative_to(root)
    command = ["git", "log", "-1", "--format=%H %ct", f"-S{config['digest']}", "--", str(path)]
    answer = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    commit, _, seconds = answer.stdout.strip().partition(" ")
    known = digests().get(row_folder.relative_to(root).as_posix())
    tags = {"dvc_digest": known} if known else {}
    if not seconds:
        modified = (row_folder / f"seed_{config['seed']}" / "config.json").stat().st_mtime_ns
        return Recorded(modified // 1_000_000, tags)
    return Recorded(int(seconds) * 1000, tags | {"recorded_in": commit})
