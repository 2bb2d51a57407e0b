"""The mirror process beside a stage: `python -m pipelines.follow PROJECT` until its input ends."""

import os
import sys
from functools import partial
from pathlib import Path

from t2t.errors import T2TError
from t2t.tracking.turns import Turn, input_ended, take_turn

# Training comes first where the two share the cores.
_NICENESS = 10


def main() -> None:
    """Mirrors the workspaces of the project in argv to MLFLOW_TRACKING_URI, in turn."""
    os.nice(_NICENESS)
    root = Path(sys.argv[1])
    with take_turn(root / "data" / "checkpoints", partial(input_ended, sys.stdin)) as turn:
        if turn is not None:
            _follow(root, turn)


def _follow(root: Path, turn: Turn) -> None:
    # These bring mlflow and torch, half a gigabyte that a mirror which waits need not hold.
    from pipelines.labels import row_labels
    from pipelines.params.reader import Params
    from pipelines.stored_runs import stored_runs
    from t2t.tracking.delivery import public_uri
    from t2t.tracking.follow import follow
    from t2t.tracking.imports import Importer
    from t2t.tracking.mirror import Mirror

    uri = os.environ["MLFLOW_TRACKING_URI"]
    labels = row_labels(Params(root / "params.yaml"))
    mirror = Mirror(root / "data" / "checkpoints", uri, labels=labels)
    problem = None
    if follow(mirror, partial(input_ended, sys.stdin), turn.close):
        try:
            # Of a run that ended with the bytes dvc.lock has, DVC does not repeat the evaluation.
            Importer(mirror.root, uri, labels).complete(stored_runs(root), only_known=True)
        except T2TError as error:
            problem = error
    else:
        problem = mirror.problem
    if problem:
        print(f"MLflow at {public_uri(uri)} has not got everything yet: {problem}")


if __name__ == "__main__":
    main()
