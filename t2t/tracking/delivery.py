"""What a run's workspace owes to an MLflow server, and how it gets there.

What was delivered is written down per server and run; what could not be is delivered by whoever
comes next, once: a run is found again by its digest, and a point carries the time it was made.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from t2t.files import SEAL, is_sealed, sealed, write_json
from t2t.tracking.server import (
    experiment_id,
    has_run,
    log_points,
    log_result,
    run_of_digest,
    the_run,
)
from t2t.training.journal import read_journal, read_journal_from
from t2t.training.record import EVALUATION, JOURNAL, read_run_record
from t2t.training.workspace import RESULT, RUN_SEAL, is_finished

SYSTEM_JOURNAL = "system.jsonl"
JOURNALS = (JOURNAL, SYSTEM_JOURNAL)
_LEDGER = "mirror.json"
_END_BYTES = 32
# Tag of a run whose history did not come from a journal.
HISTORY, IMPORTED = "history", "imported"
# Tags for people, by row: its title, where the paper prints it, and so on.
Labels = Mapping[str, Mapping[str, str]]


class Delivery:
    """What one workspace still owes to one tracking server."""

    def __init__(self, folder: Path, tracking_uri: str, labels: Labels):
        self.folder = folder
        self.uri = tracking_uri
        self._labels = labels
        self._ledger_path = folder / _LEDGER
        self._ledger = _ledger_at(self._ledger_path)
        self._done: dict[str, Any] = self._ledger.setdefault(public_uri(tracking_uri), {})

    def is_owed(self) -> bool:
        """Whether there is anything to deliver."""
        return self._owes_result() or any(self._owed(name) for name in JOURNALS)

    def _owed(self, name: str) -> list[tuple[int, dict[str, Any]]]:
        """Events of a journal that were not delivered yet, each with the byte behind it."""
        return list(read_journal_from(self.folder / name, self._delivered_bytes(name)))

    def _delivered_bytes(self, name: str) -> int:
        """How far a journal was delivered; 0 where it was made again since, with other lines."""
        end = self._done.get(_bytes_of(name), 0)
        known = self._done.get(_end_of(name))
        return end if known is None or known == _text_before(self.folder / name, end) else 0

    def _owes_result(self) -> bool:
        return is_finished(self.folder) and not self._done.get("model")

    def forget_lost_run(self) -> None:
        """Owes everything again where the server has lost, or deleted, the run."""
        from mlflow import MlflowClient

        if "run_id" in self._done and not has_run(MlflowClient(self.uri), self._done["run_id"]):
            self._done.clear()

    def deliver(self) -> None:
        """Brings the server up to date. Raises what MLflow raises where that cannot be done."""
        from mlflow import MlflowClient

        client = MlflowClient(self.uri)
        self.forget_lost_run()
        for name in JOURNALS:
            if owed := self._owed(name):
                ends, events = zip(*owed, strict=True)
                self._deliver_events(client, events)
                self._done[_end_of(name)] = _text_before(self.folder / name, ends[-1])
                self._note(_bytes_of(name), ends[-1])
        if self._owes_result():
            run_id = self._run_id(client)
            log_result(client, run_id, self.folder / RESULT)
            client.set_terminated(run_id, "FINISHED", self._ended_ms())
            self._note("model", True)

    def _deliver_events(self, client: Any, events: Sequence[dict[str, Any]]) -> None:
        run_id = self._run_id(client)
        log_points(client, run_id, events)
        for key, value in _tags(events).items():
            client.set_tag(run_id, key, value)
        evaluated = [event for event in events if event["kind"] == EVALUATION]
        if evaluated and not is_finished(self.folder):
            client.set_terminated(run_id, "FINISHED", evaluated[-1]["time_ms"])

    def _trained_ms(self) -> list[int]:
        events = read_journal(self.folder / JOURNAL)
        return [event["time_ms"] for event in events if event["kind"] != EVALUATION]

    def _ended_ms(self) -> int:
        """When training ended; of weights that were not trained here, the last that is known."""
        if trained := self._trained_ms():
            return trained[-1]
        told = [event["time_ms"] for event in read_journal(self.folder / JOURNAL)]
        return told[-1] if told else read_run_record(self.folder)["start_ms"]

    def _run_id(self, client: Any) -> str:
        if "run_id" in self._done:
            return self._done["run_id"]
        record = read_run_record(self.folder)
        experiment = experiment_id(client, record["experiment"])
        known = run_of_digest(client, experiment, record["tags"]["digest"])
        if known and known.data.tags.get(HISTORY) == IMPORTED and self._trained_ms():
            # The journal knows when, where and by which commit; its points have times of their own.
            client.delete_run(known.info.run_id)
        record["tags"] = {**self._labels.get(record["tags"]["row"], {}), **record["tags"]}
        run_id = the_run(client, experiment, record)
        self._note("run_id", run_id)
        return run_id

    def _note(self, key: str, value: Any) -> None:
        self._done[key] = value
        write_json(self._ledger_path, sealed(self._ledger))


def state_of(folder: Path) -> tuple[tuple[int, int, int] | None, ...]:
    """What tells a workspace in which nothing was written from one in which something was.

    Of each file that decides what is owed its inode, size in bytes and time in ns; None where it
    is absent.
    """
    files = (*JOURNALS, _LEDGER, f"{RESULT}/{RUN_SEAL}")
    return tuple(_file_state(folder / name) for name in files)


def _file_state(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


def public_uri(uri: str) -> str:
    """`uri` without the user and password that it may hold, as it may be written down and shown.

    A password may itself hold @ and /, so that all up to the last @ behind a colon counts as one.
    """
    return re.sub(r"(?<=://)[^/:]*(:.*)?@", "", uri)


def told(error: Exception, uri: str) -> str:
    """The first line of an error at the server at `uri`, without what that holds of secrets."""
    line = f"{type(error).__name__}: {error}".splitlines()[0]
    return line.replace(uri, public_uri(uri))


def _bytes_of(journal: str) -> str:
    """The ledger's key for how far a journal was delivered."""
    return f"{journal}_bytes"


def _end_of(journal: str) -> str:
    """The ledger's key for the text with which what was delivered of a journal ends."""
    return f"{journal}_end"


def _text_before(path: Path, end: int) -> str:
    """The last bytes before byte `end` of a file, which in a journal are a line's checksum."""
    if not path.exists():
        return ""
    with open(path, "rb") as stream:
        stream.seek(max(0, end - _END_BYTES))
        return stream.read(min(end, _END_BYTES)).decode(errors="replace")


def _ledger_at(path: Path) -> dict[str, Any]:
    """What was delivered, by server. A damaged ledger is as good as none: nothing is doubled."""
    try:
        ledger = json.loads(path.read_text())
        sound = is_sealed(ledger)
    except (OSError, ValueError, AttributeError):
        return {}
    return {key: value for key, value in ledger.items() if key != SEAL} if sound else {}


def _tags(events: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """The newest tags of journal events, the device that they name among them."""
    tags: dict[str, str] = {}
    for event in events:
        tags |= event.get("tags", {})
        if "device" in event:
            tags["device"] = event["device"]
    return tags
