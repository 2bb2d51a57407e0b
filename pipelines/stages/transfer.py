"""transfer: a row's network trained on, on a downstream set, with every seed, and scored there."""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from pipelines.params.reader import Params
from pipelines.params.runs import run_folder
from pipelines.params.transfer_runs import transfer_configs
from pipelines.params.transfers import transfer_facts
from pipelines.provenance import run_tags
from t2t.evaluation.row import evaluate_row, write_evaluation
from t2t.training.record import record_evaluation
from t2t.training.row import train_row


def main(argv: Sequence[str]) -> None:
    """Reads the transfer, its recipe and the runs --needed; writes --out (runs), --curves, and the
    scores --metrics and --seeds."""
    parser = argparse.ArgumentParser(prog="transfer", description=__doc__)
    parser.add_argument("--scale", required=True)
    parser.add_argument("--transfer", required=True)
    for name in ("needed", "shards", "checkpoints", "out", "curves", "metrics", "seeds"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    args = parser.parse_args(argv)
    params = Params(Path("params.yaml"))
    facts = transfer_facts(params, args.transfer)
    configs = transfer_configs(params, args.scale, facts, args.needed)
    runs = {config.seed: run_folder(args.out, config.seed) for config in configs}
    train_row(configs, args.shards, args.checkpoints, runs, args.curves, run_tags() | facts)
    evaluation = evaluate_row(args.out, args.shards)
    further = {**facts, "train_images": evaluation.configs[0]["train_images"]}
    write_evaluation(evaluation, args.metrics, args.seeds, further)
    for config, metrics in zip(evaluation.configs, evaluation.metrics_per_seed(), strict=True):
        record_evaluation(args.checkpoints, config, metrics, {})
    print(json.dumps(evaluation.summary() | further, indent=2))
