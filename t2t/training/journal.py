"""The journal of a run: JSON lines on the local disk, the truth from which trackers are fed.

A line is appended, flushed and never changed. A line torn by a kill is cut off at the next start;
a step that is run again after a resume is not written again, so every step stands there once,
with the time at which it was first reached. Each line ends in a checksum of itself. A checkpoint
holds the journal as it was then, so that one that was damaged since is made again.
"""

import json
import os
import time
import warnings
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from t2t.errors import DataError
from t2t.files import fsync_path, write_text

_CHECKSUM = "crc32"
_REQUIRED = frozenset({"kind", "step", "time_ms"})
# What a line may hold that has no checksum, as journals once had none.
_UNCHECKED = _REQUIRED | {"metrics", "timing", "device", "processes", "tags"}


class Journal:
    """Appends events to `path`; each has a kind and a step, and is written once.

    `text` is all that stands there. Raises DataError naming a line that is not as it was written.
    """

    def __init__(self, path: Path):
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        _cut_torn_line(path)
        self._seen = {(event["kind"], event["step"]) for event in read_journal(path)}
        # Not read again for a checkpoint: what is damaged on the disk must not get into it.
        self.text = _text_of(path)

    def append(self, kind: str, step: int, **content: Any) -> None:
        """Writes one event, unless this kind has one for this step already."""
        if (kind, step) in self._seen:
            return
        event = {"kind": kind, "step": step, "time_ms": time.time_ns() // 1_000_000, **content}
        line = json.dumps({**event, _CHECKSUM: _checksum(event)}) + "\n"
        with open(self.path, "a", encoding="utf-8") as stream:
            stream.write(line)
        self.text += line
        self._seen.add((kind, step))

    def sync(self) -> None:
        """Brings what was appended to the disk."""
        if self.path.exists():
            fsync_path(self.path)


def restored_journal(path: Path, kept: str) -> Journal:
    """The journal at `path`, which began with `kept` when a checkpoint was saved.

    One that is damaged, or has lost a part of `kept`, is set aside as `<name>.damaged` with a
    warning, and is `kept` again: what came behind, the run does once more.
    """
    try:
        journal = Journal(path)
        if journal.text.startswith(kept):
            return journal
        wrong = f"{path}: has lost lines"
    except DataError as error:
        wrong = str(error).partition(";")[0]
    aside = path.with_name(f"{path.name}.damaged")
    if path.exists():
        os.replace(path, aside)
        wrong += f"; it is {aside.name} now"
    write_text(path, kept)
    warnings.warn(f"{wrong}, and the checkpoint's copy takes its place", stacklevel=2)
    return Journal(path)


def read_journal(path: Path) -> Iterator[dict[str, Any]]:
    """The whole events in a journal, in order; a torn last line is left out.

    Raises DataError naming a line that is not as it was written.
    """
    for _, event in read_journal_from(path, 0):
        yield event


def read_journal_from(path: Path, start: int) -> Iterator[tuple[int, dict[str, Any]]]:
    """The whole events behind byte `start`, each with the byte behind it: what was read of a
    growing journal need not be read again.

    Raises DataError naming a line that is not as it was written.
    """
    if not path.exists():
        return
    with open(path, "rb") as stream:
        end = stream.seek(start)
        for line in stream:
            if line.endswith(b"\n"):
                event = _event_of(line)
                if event is None:
                    number = _lines_before(path, end) + 1
                    raise DataError(f"{path}: line {number} is damaged; delete this file")
                end += len(line)
                yield end, event


def _lines_before(path: Path, end: int) -> int:
    with open(path, "rb") as stream:
        return stream.read(end).count(b"\n")


def _event_of(line: bytes) -> dict[str, Any] | None:
    """The event that a line holds, None for a damaged one."""
    try:
        event = json.loads(line)
        written = event.pop(_CHECKSUM, None)
        if written is None:
            sound = _REQUIRED <= event.keys() <= _UNCHECKED
        else:
            sound = written == _checksum(event)
    except (ValueError, AttributeError, TypeError):
        return None
    return event if sound else None


def _checksum(event: dict[str, Any]) -> int:
    return zlib.crc32(json.dumps(event).encode())


def _text_of(path: Path) -> str:
    # Damage that passed for a line is to be seen as such beside what a checkpoint holds.
    return path.read_bytes().decode(errors="replace") if path.exists() else ""


def _cut_torn_line(path: Path) -> None:
    if not path.exists():
        return
    content = path.read_bytes()
    whole = content.rfind(b"\n") + 1
    if whole != len(content):
        os.truncate(path, whole)
