"""train: one row of the table, every seed of the scale, side by side where there is room."""

import argparse
import csv
import functools
import json
from collections.abc import Sequence
from pathlib import Path

from pipelines.params.reader import Params
from pipelines.params.training import (
    CpuThreads,
    ModelScale,
    RowModel,
    resolve_recipe,
    row_seeds,
)
from pipelines.provenance import run_tags
from t2t.training.config import RunConfig
from t2t.training.parallel import run_side_by_side, slots
from t2t.training.run import train_run


def main(argv: Sequence[str]) -> None:
    """Reads the recipe, the scale's sizes and the row; writes --out (runs) and --curves."""
    parser = argparse.ArgumentParser(prog="train", description=__doc__)
    parser.add_argument("--scale", required=True)
    parser.add_argument("--row", required=True)
    parser.add_argument("--shards", type=Path, required=True)
    parser.add_argument("--checkpoints", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--curves", type=Path, required=True)
    args = parser.parse_args(argv)
    params = Params(Path("params.yaml"))
    model = params.part(f"rows.{args.row}.model", RowModel)
    size = params.part(f"scales.{args.scale}.model", ModelScale)
    seeds = row_seeds(params, args.scale, args.row)
    recipe = resolve_recipe(params, args.scale, args.row)
    cpu_threads = params.part(f"scales.{args.scale}.cpu_threads", CpuThreads)
    tags = run_tags()
    jobs = []
    for seed in seeds:
        config = RunConfig(
            scale=args.scale,
            row=args.row,
            seed=seed,
            backbone=model.backbone,
            variant=model.variant,
            overrides=model.overrides,
            width_factor=size.width_factor,
            depth_factor=size.depth_factor,
            cpu_threads=cpu_threads,
            recipe=recipe,
        )
        out = args.out / f"seed_{seed}"
        jobs.append(functools.partial(train_run, config, args.shards, args.checkpoints, out, tags))
    run_side_by_side(jobs, slots(cpu_threads))
    write_curves(args.out, seeds, args.curves)


def write_curves(runs: Path, seeds: Sequence[int], path: Path) -> None:
    """The learning curves of all seeds as one table, a line per seed and epoch."""
    lines = [
        {"seed": seed, **json.loads(line)}
        for seed in seeds
        for line in (runs / f"seed_{seed}" / "metrics.jsonl").read_text().splitlines()
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, list(lines[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(lines)
