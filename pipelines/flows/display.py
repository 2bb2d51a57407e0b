"""A flow on the terminal: a table that is kept up to date, or lines where nobody watches."""

import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.table import Table

from pipelines.flows.command import last_lines
from pipelines.flows.outcome import Event
from pipelines.flows.summary import FlowPlan, short_time

_LINE_WIDTH = 80


class Lines:
    """One line for each event, for logs."""

    def __init__(self, plan: FlowPlan):
        print(plan.as_text(), flush=True)

    def __enter__(self) -> "Lines":
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def __call__(self, event: Event) -> None:
        """Prints the event."""
        details = event.details
        said = {
            "started": lambda: f"started{_on(details)}",
            "retried": lambda: f"{details['why']}; once more",
            "ended": lambda: f"{details['status']} after {short_time(details['seconds'])}",
            "note": lambda: details["text"],
        }[event.kind]()
        print(f"{time.strftime('%H:%M:%S')}  {event.stage}: {said}", flush=True)


class LiveTable:
    """The stages under way, each with the last line of its log, and a count of the others."""

    def __init__(self, plan: FlowPlan):
        self._plan = plan
        self._mutex = threading.Lock()
        self._running: dict[str, Event] = {}
        self._counts: Counter[str] = Counter()
        self._live = Live(
            get_renderable=self._table, console=Console(), refresh_per_second=2, transient=True
        )

    def __enter__(self) -> "LiveTable":
        print(self._plan.as_text(), flush=True)
        self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._live.stop()

    def __call__(self, event: Event) -> None:
        """Takes the event into the next picture."""
        with self._mutex:
            if event.kind == "started":
                self._running[event.stage] = event
            elif event.kind == "ended":
                self._running.pop(event.stage, None)
                self._counts[event.details["status"]] += 1
            elif event.kind == "note":
                self._live.console.print(f"{event.stage}: {event.details['text']}", markup=False)

    def _table(self) -> Table:
        with self._mutex:
            running, counts = list(self._running.values()), dict(self._counts)
        done = ", ".join(f"{count} {status}" for status, count in counts.items())
        left = len(self._plan.jobs) - sum(counts.values()) - len(running)
        table = Table(title=f"{done or 'nothing done yet'}, {left} to come", title_justify="left")
        for title in ("stage", "since", "on", "last line"):
            table.add_column(title, no_wrap=True)
        for event in running:
            log = event.details["log"]
            line = "".join(last_lines(Path(log), 1)) if log else ""
            since = short_time(time.time() - event.time_s)
            table.add_row(event.stage, since, _on(event.details), line[-_LINE_WIDTH:])
        return table


def shown(plan: FlowPlan) -> "Lines | LiveTable":
    """What suits standard output."""
    kind: Callable[[FlowPlan], Lines | LiveTable] = LiveTable if sys.stdout.isatty() else Lines
    return kind(plan)


def _on(started: Mapping[str, Any]) -> str:
    """The GPUs of a stage, or its worker."""
    where = ", ".join(started["gpus"]) or started.get("worker", "")
    return f" on {where}" if where else ""
