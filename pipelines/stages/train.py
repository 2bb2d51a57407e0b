"""train: one row of the table, every seed of the scale, side by side where there is room."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from pipelines.params.reader import Params
from pipelines.params.runs import configs_of, run_folder
from pipelines.provenance import run_tags
from t2t.training.row import train_row


def main(argv: Sequence[str]) -> None:
    """Reads the recipe, the scale's sizes and the row; writes --out (runs) and --curves.

    With --needed, the runs of the row that it needs, the row is one of `derived`.
    """
    parser = argparse.ArgumentParser(prog="train", description=__doc__)
    parser.add_argument("--scale", required=True)
    parser.add_argument("--row", required=True)
    parser.add_argument("--needed", type=Path)
    parser.add_argument("--shards", type=Path, required=True)
    parser.add_argument("--checkpoints", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--curves", type=Path, required=True)
    args = parser.parse_args(argv)
    params = Params(Path("params.yaml"))
    configs = configs_of(params, args.scale, args.row, args.needed)
    runs = {config.seed: run_folder(args.out, config.seed) for config in configs}
    train_row(configs, args.shards, args.checkpoints, runs, args.curves, run_tags())
