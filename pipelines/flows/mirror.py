"""A flow's journal, shown in Prefect: one task for each stage, artifacts for plan and results."""

import contextlib
import json
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from prefect import get_run_logger, task
from prefect.artifacts import (
    create_markdown_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)
from prefect.cache_policies import NO_CACHE
from prefect.futures import PrefectFuture
from prefect.settings import PREFECT_UI_URL

from pipelines.flows.folder import EVENTS, PLAN
from pipelines.flows.outcome import Status
from pipelines.flows.pages import plan_page, result_page, result_rows
from pipelines.flows.patience import asked_once

_POLL_S = 2.0
_TAIL_LINES = 15


class WatchedStage:
    """A stage on the page: its task ends when the stage has."""

    def __init__(self, name: str, started: Mapping[str, Any], minutes: float):
        self.name, self.log, self.minutes = name, started["log"], minutes
        # Of a stage that a worker makes, whose own run has the log.
        self.run, self.worker = started.get("run"), started.get("worker", "")
        self.ended = threading.Event()
        self.outcome: dict[str, Any] = {}


@task(task_run_name="{name}", cache_policy=NO_CACHE)
def shown_stage(name: str, watched: WatchedStage) -> str:
    """Lives as long as the stage does, with the stage's log and progress; fails where it does."""
    lines = NewLines(Path(watched.log)) if watched.log else None
    progress, began = None, time.monotonic()
    with contextlib.suppress(Exception), asked_once():
        progress = create_progress_artifact(progress=0.0, key=None, description=name)
    if watched.run:
        get_run_logger().info(f"made by {watched.worker}; its log: {_address_of(watched.run)}")
    while not watched.ended.wait(_POLL_S):
        if lines:
            say(lines)
        expected = 100 * (time.monotonic() - began) / 60 / watched.minutes
        _advance(progress, min(expected, 95.0))
    if lines:
        say(lines)
    status = watched.outcome["status"]
    if not Status(status).is_good:
        raise RuntimeError(f"{status}: {watched.outcome['why']}")
    _advance(progress, 100.0)
    return status


class FlowMirror:
    """The journal of a flow, shown in Prefect as far as that answers."""

    def __init__(self, folder: Path):
        self._folder = folder
        self._events = NewLines(folder / EVENTS)
        self._stages: dict[str, WatchedStage] = {}
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
                self._begin(name, details)
            elif kind == "ended":
                if name not in self._stages and details["status"] in ("failed", "from cache"):
                    self._begin(name, details)
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
            page = result_page(root, scale, self._folder)
            create_markdown_artifact(page, key="results", description="Report, runs and logs")

    def _begin(self, name: str, started: Mapping[str, Any]) -> None:
        jobs = {job["stage"]: job["minutes"] for job in (self._plan or {}).get("jobs", [])}
        self._stages[name] = watched = WatchedStage(name, started, jobs.get(name, 1.0))
        with _unless_gone():
            self._futures.append(shown_stage.submit(name, watched))


class NewLines:
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


def say(lines: NewLines) -> None:
    """Hands new lines to Prefect's log of the run that calls."""
    logger = get_run_logger()
    for line in lines:
        logger.info(line)


def _address_of(run: str) -> str:
    return f"{PREFECT_UI_URL.value()}/runs/flow-run/{run}"


def _advance(progress: Any, percent: float) -> None:
    if progress is not None:
        with contextlib.suppress(Exception), asked_once():
            update_progress_artifact(progress, percent)


def tail(path: Path) -> str:
    """The last lines of a file."""
    return "\n".join(path.read_text(errors="replace").splitlines()[-_TAIL_LINES:])
