"""The flows that Prefect serves: a page to watch, a schedule, a queue for workers.

Prefect is a mirror here, as MLflow is. `reproduce` starts `python -m pipelines.flows.reproduce`,
which does the work and knows no server, and shows its journal as one task for each stage. A server
that is slow or gone costs the work nothing.
"""

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated, Any

from prefect import flow
from prefect.task_runners import ThreadPoolTaskRunner
from pydantic import Field

from pipelines.environment import project_environment
from pipelines.flows.clone import check_out, start_worker
from pipelines.flows.folder import new_folder, sole_flow
from pipelines.flows.mirror import FlowMirror, NewLines, say, tail
from pipelines.flows.request import Commit, Hex, Request, StageName
from pipelines.params.reader import Name

_POLL_S = 1.0
_MOST_STAGES = 256
Slots = Annotated[int, Field(ge=1, le=1024)]


_TASKS: Any = ThreadPoolTaskRunner(max_workers=_MOST_STAGES)


@flow(name="reproduce", task_runner=_TASKS)
def reproduce(
    scale: Name | None = None,
    rows: list[Name] | None = None,
    slots: Slots | None = None,
    pool: Name | None = None,
    allow_dirty: bool = False,
) -> None:
    """Makes what is stale of the graph, each stage as soon as what it needs is there.

    Args:
        scale: one of params.yaml's; if empty, the one that it names
        rows: these rows and what they need, without the report; if empty, everything
        slots: stages that use no GPU at once, on this machine; if empty, by the cores
        pool: the work pool whose workers make the stages; if empty, this machine does
        allow_dirty: also with changes that no commit holds, which are written down
    """
    root = Path.cwd()
    folder = new_folder(root)
    options = {"--scale": [scale], "--rows": rows or [], "--slots": [slots], "--pool": [pool]}
    words = ["--folder", str(folder), "--wait", "--leave-with-parent"]
    words += ["--allow-dirty"] if allow_dirty else []
    for option, values in options.items():
        given = [str(value) for value in values if value is not None]
        words += [option, *given] if given else []
    output = folder / "output.log"
    process = _started(root, words, output)
    mirror, lines = FlowMirror(folder), NewLines(output)
    while process.poll() is None:
        mirror.look()
        say(lines)
        time.sleep(_POLL_S)
    mirror.look()
    say(lines)
    mirror.finish(root)
    if process.returncode:
        raise RuntimeError(f"exit code {process.returncode}\n{tail(output)}")


def _started(root: Path, words: list[str], output: Path) -> subprocess.Popen[bytes]:
    with open(output, "ab") as stream:
        return subprocess.Popen(
            [sys.executable, "-m", "pipelines.flows.reproduce", *words],
            cwd=root,
            env=project_environment(os.environ, root),
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
        )


@flow(name="stage", flow_run_name="{stage}")
def stage(
    commit: Commit,
    stage: StageName,
    scale: Name,
    gpus: Annotated[int, Field(ge=0, le=1024)],
    digest: Hex,
    token: Hex,
    upstream: str,
    beat_s: Annotated[float, Field(gt=0, le=3600)],
) -> None:
    """Makes one stage for a coordinator, in this worker's clone; asked for by `reproduce` alone.

    Args:
        commit: what the clone checks out
        stage: as dvc.yaml names it, with its row
        scale: one of params.yaml's
        gpus: how many it wants
        digest: of its command and inputs, under which the result is handed in
        token: of this attempt
        upstream: what dvc.lock holds of the stages it needs, packed
        beat_s: seconds between two signs of life
    """
    root = Path.cwd()
    request = Request(
        commit=commit, stage=stage, scale=scale, gpus=gpus, digest=digest, token=token,
        upstream=upstream, beat_s=beat_s,
    )  # fmt: skip
    log = new_folder(root) / "worker.log"
    with sole_flow(root, wait=True) as lock:
        check_out(root, commit)
        process = start_worker(root, request, log, lock)
    lines = NewLines(log)
    while (code := process.poll()) is None:
        say(lines)
        time.sleep(_POLL_S)
    say(lines)
    if code:
        raise RuntimeError(f"exit code {code}")
