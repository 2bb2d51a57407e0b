"""The journal of a run: JSON lines on the local disk, the truth from which trackers are fed.

A line is appended, flushed and never changed. A line torn by a kill is cut off at the next start;
a step that is run again after a resume is not written again, so every step stands there once,
with the time at which it was first reached.
"""

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from t2t.files import fsync_path


class Journal:
    """Appends events to `path`; each has a kind and a step, and is written once."""

    def __init__(self, path: Path):
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        _cut_torn_line(path)
        self._seen = {(event["kind"], event["step"]) for event in read_journal(path)}

    def append(self, kind: str, step: int, **content: Any) -> None:
        """Writes one event, unless this kind has one for this step already."""
        if (kind, step) in self._seen:
            return
        event = {"kind": kind, "step": step, "time_ms": time.time_ns() // 1_000_000, **content}
        with open(self.path, "a", encoding="utf-8") as stream:
            stream.write(json.dumps(event, allow_nan=True) + "\n")
        self._seen.add((kind, step))

    def sync(self) -> None:
        """Brings what was appended to the disk."""
        if self.path.exists():
            fsync_path(self.path)


def read_journal(path: Path) -> Iterator[dict[str, Any]]:
    """The whole events in a journal, in order; a torn last line is left out."""
    if not path.exists():
        return
    with open(path, encoding="utf-8") as stream:
        for line in stream:
            if line.endswith("\n"):
                yield json.loads(line)


def _cut_torn_line(path: Path) -> None:
    if not path.exists():
        return
    content = path.read_bytes()
    whole = content.rfind(b"\n") + 1
    if whole != len(content):
        os.truncate(path, whole)
