"""Where a row's figures come from: `python -m pipelines.origin ROW [--scale digits]`.

What the report cannot say, as it holds no dates: commit, device, time and DVC's hashes.
"""

import argparse
import csv
import datetime
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from pipelines.environment import ROOT
from pipelines.mirror import CHECKPOINTS
from pipelines.params.reader import Params
from pipelines.recorded import NOT_RECORDED, dvc_digests
from pipelines.stored_runs import REPORTS
from t2t.errors import DataError, T2TError
from t2t.training.journal import read_journal
from t2t.training.record import EVALUATION, JOURNAL, RUN_RECORD
from t2t.training.workspace import workspace_of

_UNKNOWN = "no journal here; MLflow, or the machine that trained it, knows"


def origin(root: Path, workspaces: Path, scale: str, row: str) -> Iterator[str]:
    """Lines about `row`, a row or transfer, and each of its seeds.

    Raises DataError where it was not evaluated at this scale.
    """
    tables = {
        kind: root / "reports" / scale / seeds / f"{row}.csv"
        for kind, (seeds, _) in REPORTS.items()
    }
    kind = next((kind for kind, path in tables.items() if path.is_file()), None)
    if kind is None:
        raise DataError(f"{tables['runs']}: missing; {row} was not evaluated at scale {scale}")
    table, runs = tables[kind], root / "data" / kind / scale / row
    digests = dvc_digests(root / "dvc.lock")
    yield f"{row} at scale {scale}"
    for out in (path.relative_to(root).as_posix() for path in (runs, table)):
        yield f"  {out}: dvc md5 {digests.get(out, NOT_RECORDED)}"
    with table.open(encoding="utf-8", newline="") as stream:
        for line in csv.DictReader(stream):
            yield f"  seed {line['seed']}: top-1 {float(line['top1_pct']):.2f} %"
            yield f"    digest {line['digest']}"
            yield f"    MLflow run {row}-seed{line['seed']} of experiment {scale}"
            yield f"    recorded by {_commit(root, table, line['digest'])}"
            yield from _from_journal(workspace_of(workspaces, line["digest"]))
            config = runs / f"seed_{line['seed']}" / "config.json"
            yield f"    configuration {config.relative_to(root)}" + (
                "" if config.is_file() else ", after dvc pull"
            )


def _commit(root: Path, table: Path, digest: str) -> str:
    command = ["git", "log", "-1", "--format=%H of %cI", f"-S{digest}", "--", str(table)]
    answer = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    return answer.stdout.strip() or "no commit yet"


def _from_journal(workspace: Path) -> Iterator[str]:
    if not (workspace / RUN_RECORD).is_file():
        yield f"    trained: {_UNKNOWN}"
        return
    tags = json.loads((workspace / RUN_RECORD).read_text())["tags"]
    yield f"    trained by {tags['stage']} at commit {tags['git_commit']}"
    epochs = [event for event in read_journal(workspace / JOURNAL) if event["kind"] != EVALUATION]
    if epochs:
        first, last = (_when(epochs[index]["time_ms"]) for index in (0, -1))
        yield f"    on {epochs[-1].get('device', 'a device not noted')}, from {first} to {last}"


def _when(time_ms: int) -> str:
    return datetime.datetime.fromtimestamp(time_ms / 1000, datetime.UTC).isoformat("T", "seconds")


def main() -> int:
    """Prints the lines; the exit code is the error's class."""
    parser = argparse.ArgumentParser(description="Where a row's figures come from.")
    parser.add_argument("row")
    parser.add_argument("--scale", help="the one of params.yaml without it")
    args = parser.parse_args()
    try:
        scale = args.scale or Params(ROOT / "params.yaml").part("scale", str)
        for line in origin(ROOT, CHECKPOINTS, scale, args.row):
            print(line)
    except T2TError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
