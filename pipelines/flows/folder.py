"""What flows leave below data/flows: a lock, past durations, journals and logs."""

import contextlib
import fcntl
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pipelines.flows.outcome import Event, Outcome, Status
from t2t.errors import EnvironmentProblem, Preempted
from t2t.files import write_json

FLOWS = Path("data") / "flows"
EVENTS, PLAN, SUMMARY, LOGS = "events.jsonl", "plan.json", "summary.json", "logs"
_MINUTES = "minutes.json"
_KEPT_FLOWS = 20
_POLL_S = 1.0


@contextlib.contextmanager
def sole_flow(
    root: Path, *, wait: bool, is_to_stop: Callable[[], bool] = lambda: False
) -> Iterator[int]:
    """Holds the workspace for this flow, and for processes that inherit the file descriptor given.

    Raises EnvironmentProblem where another flow holds it, unless it is to `wait` for that, and
    Preempted where it `is_to_stop` before the other one has ended.
    """
    path = root / FLOWS / "lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "a+", encoding="utf-8") as stream:
        while not _locked(stream.fileno()):
            if not wait:
                stream.seek(0)
                raise EnvironmentProblem(
                    f"a flow is at work in {root} already ({stream.read().strip()}); wait for it, "
                    "with --wait, or stop it"
                )
            if is_to_stop():
                raise Preempted("stopped while another flow was at work; run it again to go on")
            time.sleep(_POLL_S)
        stream.truncate(0)
        stream.write(f"process {os.getpid()}, since {datetime.now(UTC):%Y-%m-%d %H:%M} UTC")
        stream.flush()
        yield stream.fileno()


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def new_folder(root: Path) -> Path:
    """A folder for one flow's journal and logs; of earlier ones only the last are kept."""
    flows = root / FLOWS
    # To the microsecond: one process may start two in a second.
    name = f"{datetime.now(UTC):%Y-%m-%dT%H-%M-%S.%f}-{os.getpid()}"
    (flows / name).mkdir(parents=True)
    # Never this one, whose name is not the last where the clock was set back.
    others = sorted(path for path in flows.iterdir() if path.is_dir() and path.name != name)
    for path in others[: 1 - _KEPT_FLOWS]:
        shutil.rmtree(path, ignore_errors=True)
    return flows / name


class Journal:
    """Every event of a flow as a line of JSON, there for others as soon as it has happened."""

    def __init__(self, folder: Path):
        self._path = folder / EVENTS

    def __call__(self, event: Event) -> None:
        """Appends an event; in one write, so that threads do not mix their lines."""
        with open(self._path, "a", encoding="utf-8") as stream:
            stream.write(json.dumps(event.as_values()) + "\n")


def past_minutes(root: Path, scale: str) -> dict[str, float]:
    """What each stage took when a flow last made it at `scale`."""
    try:
        known = json.loads((root / FLOWS / _MINUTES).read_text())[scale]
        return {str(name): float(value) for name, value in known.items() if float(value) > 0}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}  # a damaged file is no reason not to run


def keep_minutes(root: Path, scale: str, outcomes: Mapping[str, Outcome]) -> None:
    """Remembers what the stages that were made took."""
    path = root / FLOWS / _MINUTES
    try:
        known: dict[str, Any] = dict(json.loads(path.read_text()))
    except (OSError, ValueError, TypeError):
        known = {}
    of_scale = past_minutes(root, scale)
    for name, outcome in outcomes.items():
        if outcome.status is Status.MADE:
            of_scale[name] = max(outcome.seconds / 60, 1e-3)
    write_json(path, known | {scale: of_scale})
