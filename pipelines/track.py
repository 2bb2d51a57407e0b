"""Delivers to MLflow what it has not got yet, after an outage: `python -m pipelines.track`."""

import os
import sys

from pipelines.environment import ROOT, project_environment
from pipelines.mirror import CHECKPOINTS
from t2t.tracking.delivery import public_uri
from t2t.tracking.follow import Mirror


def main() -> int:
    """One pass over every workspace; the exit code is 4 where MLflow cannot be reached."""
    os.environ.update(project_environment(os.environ))
    (ROOT / "data" / "mlflow").mkdir(parents=True, exist_ok=True)
    uri = os.environ["MLFLOW_TRACKING_URI"]
    mirror = Mirror(CHECKPOINTS, uri, patient=True)
    if not mirror.deliver():
        print(f"{public_uri(uri)} has not got everything: {mirror.problem}", file=sys.stderr)
        return 4
    print(f"{public_uri(uri)} has every run: {len(mirror.workspaces())}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
