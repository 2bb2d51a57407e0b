"""train: one row of the table, every seed of the scale, side by side where there is room."""

import argparse
import functools
from collections.abc import Sequence
from pathlib import Path

from pipelines.params.reader import Params
from pipelines.params.runs import configs_of, run_folder
from pipelines.provenance import run_tags
from t2t.files import write_text
from t2t.training.curves import curves_csv
from t2t.training.parallel import run_side_by_side, slots
from t2t.training.passes import most_ranks
from t2t.training.run import train_run


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
    tags = run_tags()
    jobs = [
        functools.partial(
            train_run,
            config,
            args.shards,
            args.checkpoints,
            run_folder(args.out, config.seed),
            tags,
        )
        for config in configs
    ]
    first = configs[0]
    run_side_by_side(jobs, slots(first.cpu_threads), most_ranks(first.recipe.batch_size))
    runs = {config.seed: run_folder(args.out, config.seed) for config in configs}
    args.curves.parent.mkdir(parents=True, exist_ok=True)
    write_text(args.curves, curves_csv(runs))
