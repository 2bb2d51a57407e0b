"""evaluate: a trained row's accuracy over its seeds, and what its network costs."""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from pipelines.provenance import run_tags
from pipelines.recorded import dvc_digest
from t2t.evaluation.row import evaluate_row, write_answers, write_evaluation
from t2t.training.record import record_evaluation, record_run


def main(argv: Sequence[str]) -> None:
    """Reads the folder --runs, the validation shard and the sets that --extra-sets lists; writes
    --metrics, --seeds, --classes and the folder --predictions."""
    parser = argparse.ArgumentParser(prog="evaluate", description=__doc__)
    parser.add_argument("--runs", type=Path, required=True)
    parser.add_argument("--shards", type=Path, required=True)
    parser.add_argument("--checkpoints", type=Path, required=True)
    parser.add_argument("--extra-sets", type=Path, required=True)
    parser.add_argument("--metrics", type=Path, required=True)
    parser.add_argument("--seeds", type=Path, required=True)
    parser.add_argument("--classes", type=Path, required=True)
    parser.add_argument("--predictions", type=Path, required=True)
    args = parser.parse_args(argv)
    evaluation = evaluate_row(args.runs, args.shards, args.extra_sets)
    write_evaluation(evaluation, args.metrics, args.seeds)
    write_answers(evaluation, args.predictions, args.classes)
    tags = {"dvc_digest": dvc_digest(args.runs)}
    for config, metrics in zip(evaluation.configs, evaluation.metrics_per_seed(), strict=True):
        record_run(args.checkpoints, config, run_tags(), args.shards)
        record_evaluation(args.checkpoints, config, metrics, tags)
    print(json.dumps(evaluation.summary(), indent=2))
