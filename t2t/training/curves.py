"""The learning curves of a row: a line for each seed and epoch."""

import csv
import io
import json
from collections.abc import Mapping
from pathlib import Path


def curves_csv(runs: Mapping[int, Path]) -> str:
    """The metrics.jsonl of finished runs, by seed, as one table in CSV; empty without any epoch,
    as runs are that were trained by others."""
    lines = [
        {"seed": seed, **json.loads(line)}
        for seed, run in runs.items()
        for line in (run / "metrics.jsonl").read_text().splitlines()
    ]
    if not lines:
        return ""
    stream = io.StringIO()
    writer = csv.DictWriter(stream, list(lines[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return stream.getvalue()
