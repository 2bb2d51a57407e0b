"""A worker's clone of the project: the commit that it is told, and nothing else."""

import os
import subprocess
import sys
from pathlib import Path

from pipelines.environment import project_environment
from pipelines.flows.request import Request
from pipelines.flows.tree import PARAMS_FILE, uncommitted
from pipelines.graph import outputs
from pipelines.params.reader import Params
from t2t.errors import ConfigError, EnvironmentProblem

_GIT_PATIENCE_S = 600


def check_out(root: Path, commit: str) -> None:
    """Has the clone in `root` be at `commit`, fetched from `origin` where it is not there yet.

    For the holder of `sole_flow`. What git ignores stays: downloads, DVC's cache, checkpoints. What
    stages have changed is swept. Raises ConfigError where somebody else has changed something, for
    this is no worker's clone then, and EnvironmentProblem where the commit cannot be had.
    """
    _refuse_a_persons(root)
    if _git(root, "cat-file", "-e", f"{commit}^{{commit}}").returncode:
        fetched = _git(root, "fetch", "--quiet", "origin")
        if _git(root, "cat-file", "-e", f"{commit}^{{commit}}").returncode:
            said = " ".join(fetched.stderr.split()) or "it is on no branch there"
            raise EnvironmentProblem(f"{root}: commit {commit} is not to be had of origin ({said})")
    for words in (["checkout", "--quiet", "--force", "--detach", commit], ["clean", "-fdq"]):
        done = _git(root, *words)
        if done.returncode:
            raise EnvironmentProblem(f"{root}: git {words[0]}: {' '.join(done.stderr.split())}")


def _refuse_a_persons(root: Path) -> None:
    # The graph takes seconds to read, and most clones are clean.
    changed = uncommitted(root, (), "")
    if changed:
        scale = Params(root / PARAMS_FILE).part("scale", str)
        changed = uncommitted(root, outputs(root), scale)
    if changed:
        raise ConfigError(
            f"{root}: a worker would sweep what no commit holds ({', '.join(changed[:5])}): give "
            "it a clone of its own, or commit that first"
        )


def start_worker(root: Path, request: Request, log: Path, lock: int) -> subprocess.Popen[bytes]:
    """Starts the worker's part with the code of the commit that the clone is at.

    lock: what `sole_flow` gave, which the worker inherits: the clone is its own to its end, even
    where that comes after the end of who started it.
    """
    # Beside the log, with which it goes.
    file = log.with_name("request.json")
    file.write_text(request.model_dump_json())
    with open(log, "ab") as stream:
        return subprocess.Popen(
            [sys.executable, "-m", "pipelines.flows.worker", str(file)],
            cwd=root,
            env=project_environment(os.environ, root),
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            pass_fds=(lock,),
        )


def _git(root: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["git", *words],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
        timeout=_GIT_PATIENCE_S,
    )
