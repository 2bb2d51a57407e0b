"""The environment of every process the project starts, in one place.

`python -m pipelines.environment COMMAND...` runs an ordinary command in it, as the Makefile does.
"""

import os
import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

SETTINGS = {
    # No telemetry leaves, from any of the tools.
    "DVC_NO_ANALYTICS": "1",
    "DO_NOT_TRACK": "true",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    # Nothing is unpickled, from a model store or by a library that fetches weights of its own,
    # and no job runs for whoever reaches the port.
    "TORCH_FORCE_WEIGHTS_ONLY_LOAD": "1",
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    # Not even the names of this machine's variables go into a model's files.
    "MLFLOW_RECORD_ENV_VARS_IN_MODEL_LOGGING": "false",
    # A tracking server that is gone is given up on after seconds, not after four minutes.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    # The first start of Prefect's own server makes its database and may take more than 20 s.
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
}


def project_environment(inherited: Mapping[str, str], root: Path = ROOT) -> dict[str, str]:
    """`inherited` with the project's settings; MLFLOW_TRACKING_URI is kept where it is set."""
    environment = {**inherited, **SETTINGS}
    # MLflow's own default is relative to the working directory: another folder, another history.
    environment.setdefault("MLFLOW_TRACKING_URI", f"sqlite:///{root}/data/mlflow/mlflow.db")
    bin_folder = str(Path(sys.executable).parent)
    if bin_folder not in environment.get("PATH", "").split(os.pathsep):
        environment["PATH"] = os.pathsep.join([bin_folder, environment.get("PATH", os.defpath)])
    return environment


def main() -> None:
    """Replaces this process by the command in argv, in the project's environment."""
    (ROOT / "data" / "mlflow").mkdir(parents=True, exist_ok=True)
    os.execvpe(sys.argv[1], sys.argv[1:], project_environment(os.environ))


if __name__ == "__main__":
    main()
