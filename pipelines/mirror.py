"""The mirror process that feeds MLflow beside a stage."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator

from pipelines.environment import ROOT

CHECKPOINTS = ROOT / "data" / "checkpoints"


@contextlib.contextmanager
def mirrored() -> Iterator[None]:
    """Keeps MLflow up to date with the workspaces while the block runs.

    The mirror is not waited for: it delivers what is left by itself, then ends.
    """
    CHECKPOINTS.mkdir(parents=True, exist_ok=True)
    (ROOT / "data" / "mlflow").mkdir(parents=True, exist_ok=True)
    with open(CHECKPOINTS / "mirror.log", "a", encoding="utf-8") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "pipelines.follow", str(ROOT)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"},
            start_new_session=True,
        )
    try:
        yield
    finally:
        assert process.stdin is not None
        process.stdin.close()
