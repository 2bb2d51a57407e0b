"""Gives MLflow what it has not got: after an outage, a `dvc pull`, with an empty database.

`python -m pipelines.track` delivers what the workspaces owe, then imports the finished runs that
no workspace tells of.
"""

import os
import sys

from pipelines.environment import ROOT, project_environment
from pipelines.labels import row_labels
from pipelines.mirror import CHECKPOINTS
from pipelines.params.reader import Params
from pipelines.stored_runs import stored_runs
from t2t.errors import EnvironmentProblem, T2TError
from t2t.tracking.delivery import public_uri
from t2t.tracking.imports import Importer
from t2t.tracking.mirror import Mirror


def main() -> int:
    """One pass over everything; the exit code is 4 where MLflow cannot be reached."""
    os.environ.update(project_environment(os.environ))
    for folder in (ROOT / "data" / "mlflow", CHECKPOINTS):
        folder.mkdir(parents=True, exist_ok=True)
    uri = os.environ["MLFLOW_TRACKING_URI"]
    labels = row_labels(Params(ROOT / "params.yaml"))
    mirror = Mirror(CHECKPOINTS, uri, patient=True, labels=labels)
    runs = list(stored_runs(ROOT))
    try:
        if not mirror.deliver():
            raise EnvironmentProblem(str(mirror.problem))
        imported = Importer(CHECKPOINTS, uri, labels).complete(runs)
    except T2TError as error:
        print(f"{public_uri(uri)} has not got everything: {error}", file=sys.stderr)
        return error.exit_code
    print(f"{public_uri(uri)} has {len(runs)} finished runs, {imported} of them new or completed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
