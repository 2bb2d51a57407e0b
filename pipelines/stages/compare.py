"""compare: each row's difference to its baseline, on the same images and seeds."""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from t2t.evaluation.paired import differences
from t2t.evaluation.predictions import read_row
from t2t.files import sealed, write_json


def main(argv: Sequence[str]) -> None:
    """Reads --baselines and what is in the folder --predictions of their rows; writes --out. Rows
    without predictions are left out."""
    parser = argparse.ArgumentParser(prog="compare", description=__doc__)
    parser.add_argument("--baselines", type=Path, required=True)
    parser.add_argument("--predictions", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args(argv)
    baselines = json.loads(args.baselines.read_text())
    names = {key.partition("/")[0] for key in baselines}
    rows = {row: read_row(args.predictions / row) for row in sorted(names)}
    args.out.parent.mkdir(parents=True, exist_ok=True)
    write_json(args.out, sealed(differences(rows, baselines)))
