"""fetch: published weights, in the form of a finished run."""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from pipelines.params.evaluation import Expected, Sha256, Weights
from pipelines.params.reader import ImageSize, Params
from pipelines.params.runs import run_folder, run_of
from pipelines.params.training import Phase, resolve_recipe
from pipelines.provenance import run_tags
from pipelines.raw_roots import raw_roots
from t2t.evaluation.released_run import obtain_weights, released_run
from t2t.training.config import RunConfig


def main(argv: Sequence[str]) -> None:
    """Reads the row of `released`, the scale's sizes and the shards; writes --out, a run of seed 0,
    and --downloads."""
    parser = argparse.ArgumentParser(prog="fetch", description=__doc__)
    parser.add_argument("--scale", required=True)
    parser.add_argument("--row", required=True)
    parser.add_argument("--shards", type=Path, required=True)
    parser.add_argument("--downloads", type=Path)
    parser.add_argument("--checkpoints", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args(argv)
    params = Params(Path("params.yaml"))
    row = f"released.{args.row}"
    weights = obtain_weights(
        params.part(f"{row}.weights", Weights),
        params.part(f"{row}.sha256", Sha256 | None),
        raw_roots(args.downloads),
    )
    config = _config(params, args.scale, args.row)
    expected = params.part(f"{row}.expected_top1_pct", Expected)
    out = run_folder(args.out, config.seed)
    released_run(config, weights, args.shards, args.checkpoints, out, run_tags(), expected)
    print(f"{args.row}: {weights}")


def _config(params: Params, scale: str, row: str) -> RunConfig:
    """The run that the weights stand for. Of the recipe, evaluation asks the channel statistics."""
    fine = params.part(f"released.{row}.phase", Phase) == "fine"
    return replace(
        run_of(params, scale, f"released.{row}", 0, resolve_recipe(params, scale)),
        image_size=params.part(f"scales.{scale}.fine.image_size", ImageSize) if fine else None,
    )
