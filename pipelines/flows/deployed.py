"""The flows that Prefect serves: a page to watch, a schedule, a queue for workers.

Prefect is a mirror here, as MLflow is. `reproduce` starts `python -m pipelines.flows.reproduce`,
which does the work and knows no server, and shows its journal as one task for each stage. A server
that is slow or gone costs the work nothing.
"""

import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

from prefect import flow, get_run_logger, task
from prefect.artifacts import (
    create_markdown_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)
from prefect.cache_policies import NO_CACHE
from prefect.futures import PrefectFuture
from prefect.task_runners import ThreadPoolTaskRunner
from pydantic import Field

from pipelines.environment import project_environment
from pipelines.flows.clone import check_out, start_worker
from pipelines.flows.folder import EVENTS, PLAN, new_folder
from pipelines.flows.outcome import Status
from pipelines.flows.pages import plan_page, result_page, result_rows
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
        slots: stages at once; if empty, one for each GPU, or by the cores
        pool: the work pool whose workers make the stages; if empty, this machine does
        allow_dirty: also with changes that no commit holds, which are written down
    """
    root = Path.cwd()
    folder = new_folder(root)
    options = {"--scale": [scale], "--rows": rows or [], "--slots": [slots], "--pool": [pool]}
    words = [sys.executable, "-m", "pipelines.flows.reproduce", "--folder", str(folder), "--wait"]
    words += ["--leave-with-parent", *(["--allow-dirty"] if allow_dirty else [])]
    for option, values in options.items():
        given = [str(value) for value in values if value is not None]
        words += [option, *given] if given else []
    output = folder / "output.log"
    with open(output, "ab") as stream:
        process = subprocess.Popen(
            words,
            cwd=root,
            env=project_environment(os.environ, root),
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
        )
    mirror = _Mirror(folder)
    while process.poll() is None:
        mirror.look()
        time.sleep(_POLL_S)
    mirror.look()
    mirror.finish(root)
    if process.returncode:
        raise RuntimeError(f"exit code {process.returncode}\n{_tail(output)}")


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
    check_out(root, commit)
    log = new_folder(root) / "worker.log"
    process = start_worker(root, request, log)
    lines = _NewLines(log)
    while (code := process.poll()) is None:
        _say(lines)
        time.sleep(_POLL_S)
    _say(lines)
    if code:
        raise RuntimeError(f"exit code {code}")


class _Stage:
    """A stage on the page: its task ends when the stage has."""

    def __init__(self, name: str, log: str, minutes: float):
        self.name, self.log, self.minutes = name, log, minutes
        self.ended = threading.Event()
        self.outcome: dict[str, Any] = {}


@task(task_run_name="{name}", cache_policy=NO_CACHE)
def shown_stage(name: str, watched: _Stage) -> str:
    """Lives as long as the stage does, with the stage's log and progress; fails where it does."""
    lines = _NewLines(Path(watched.log)) if watched.log else None
    progress, began = None, time.monotonic()
    with contextlib.suppress(Exception):
        progress = create_progress_artifact(progress=0.0, key=None, description=name)
    while not watched.ended.wait(2 * _POLL_S):
        if lines:
            _say(lines)
        expected = 100 * (time.monotonic() - began) / 60 / watched.minutes
        _advance(progress, min(expected, 95.0))
    if lines:
        _say(lines)
    status = watched.outcome["status"]
    if not Status(status).is_good:
        raise RuntimeError(f"{status}: {watched.outcome['why']}")
    _advance(progress, 100.0)
    return status


class _Mirror:
    """The journal of a flow, shown in Prefect as far as that answers."""

    def __init__(self, folder: Path):
        self._folder = folder
        self._events = _NewLines(folder / EVENTS)
        self._stages: dict[str, _Stage] = {}
        self._futures: list[PrefectFuture[str]] = []
        self._plan: dict[str, Any] | None = None

    def look(self) -> None:
        """Shows what has happened since the last look."""
        if self._plan is None and (self._folder / PLAN).is_file():
            self._plan = plan = json.loads((self._folder / PLAN).read_text())
            with _unless_gone():
                create_markdown_artifact(plan_page(plan), key="plan", description="Plan")
        for line in self._events:
            event = json.loads(line)
            kind, name, details = event["kind"], event["stage"], event["details"]
            if kind == "started" and name not in self._stages:
                self._begin(name, details["log"])
            elif kind == "ended":
                if name not in self._stages and details["status"] in ("failed", "from cache"):
                    self._begin(name, details["log"])
                if name in self._stages:
                    self._stages[name].outcome = details
                    self._stages[name].ended.set()

    def finish(self, root: Path) -> None:
        """Waits for the tasks, and shows the table."""
        for watched in self._stages.values():  # of a flow that was killed
            if not watched.ended.is_set():
                watched.outcome = {"status": "stopped", "why": "the flow ended first"}
                watched.ended.set()
        for future in self._futures:
            with _unless_gone():
                future.wait(timeout=60)
        scale = (self._plan or {}).get("scale")
        if scale is None:
            return
        with _unless_gone():
            rows = result_rows(root, scale)
            if rows:
                create_table_artifact(rows, key="ablation-table", description=f"Scale {scale}")
            create_markdown_artifact(result_page(root, scale, self._folder), key="results")

    def _begin(self, name: str, log: str) -> None:
        jobs = {job["stage"]: job["minutes"] for job in (self._plan or {}).get("jobs", [])}
        self._stages[name] = watched = _Stage(name, log, jobs.get(name, 1.0))
        with _unless_gone():
            self._futures.append(shown_stage.submit(name, watched))


class _NewLines:
    """The whole lines that a file has gained since it was last asked."""

    def __init__(self, path: Path):
        self._path, self._at = path, 0

    def __iter__(self) -> Iterator[str]:
        if not self._path.is_file():
            return
        with open(self._path, "rb") as stream:
            stream.seek(self._at)
            text = stream.read()
        whole = text[: text.rfind(b"\n") + 1]
        self._at += len(whole)
        for line in whole.decode(errors="replace").splitlines():
            yield line.rpartition("\r")[2]


@contextlib.contextmanager
def _unless_gone() -> Iterator[None]:
    """Prefect's server may be away: what it does not show is in the journal."""
    try:
        yield
    except Exception as error:
        print(f"Prefect: {type(error).__name__}: {error}", file=sys.stderr)


def _say(lines: _NewLines) -> None:
    logger = get_run_logger()
    for line in lines:
        logger.info(line)


def _advance(progress: Any, percent: float) -> None:
    if progress is not None:
        with contextlib.suppress(Exception):
            update_progress_artifact(progress, percent)


def _tail(path: Path) -> str:
    return "\n".join(path.read_text(errors="replace").splitlines()[-15:])
