"""analyse: how alike a trained row's heads are, what each is worth, and pictures of its maps."""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from pipelines.params.analysis import Analysis
from pipelines.params.reader import Params
from t2t.analysis.row import analyse_row


def main(argv: Sequence[str]) -> None:
    """Reads `analyses.<row>`, the folder --runs and the validation shard; writes the folder
    --out."""
    parser = argparse.ArgumentParser(prog="analyse", description=__doc__)
    parser.add_argument("--row", required=True)
    parser.add_argument("--runs", type=Path, required=True)
    parser.add_argument("--shards", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args(argv)
    sizes = Params(Path("params.yaml")).part(f"analyses.{args.row}", Analysis)
    found = analyse_row(
        args.runs,
        args.shards,
        args.out,
        images=sizes.images,
        removal_images=sizes.removal_images,
    )
    print(json.dumps({"row": found["row"], **found["all_seeds"]}, indent=2))
