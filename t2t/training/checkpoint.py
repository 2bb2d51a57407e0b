"""Checkpoints that survive a kill at any moment and are never trusted without a look.

A checkpoint is written to a temporary file, synced, and renamed; its SHA-256 stands in its name,
so that name and content appear together. The newest one whose content matches its name is read.
"""

import hashlib
import io
import re
import warnings
from pathlib import Path
from typing import Any

import torch

from t2t.errors import CheckpointError
from t2t.files import commit, partial_path, sha256_file

KEPT = 2
_NAME = re.compile(r"^step_(\d{9})-([0-9a-f]{64})\.pt$")


def save_checkpoint(folder: Path, step: int, state: dict[str, Any]) -> Path:
    """Writes `state` (tensors and plain containers) for `step`; keeps the newest KEPT files."""
    folder.mkdir(parents=True, exist_ok=True)
    # In memory first: where the disk is full, torch's own writing hides the reason.
    buffer = io.BytesIO()
    torch.save(state, buffer)
    content = buffer.getbuffer()
    path = folder / f"step_{step:09d}-{hashlib.sha256(content).hexdigest()}.pt"
    partial = _partial(folder)
    try:
        partial.write_bytes(content)
        commit(partial, path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    # One of this step that is named otherwise was damaged, or it would not have been made again.
    others = [(at, old) for at, old in _stored(folder) if old != path]
    twins = [old for at, old in others if at == step]
    for old in twins + [old for at, old in others if at != step][KEPT - 1 :]:
        old.unlink(missing_ok=True)
    return path


def load_checkpoint(folder: Path) -> dict[str, Any] | None:
    """The newest sound checkpoint's state, or None where there is none at all.

    A damaged one is passed over with a warning. Raises CheckpointError where every one is damaged.
    """
    stored = _stored(folder)
    for _, path in stored:
        expected = _digest_in_name(path)
        if sha256_file(path) == expected:
            return torch.load(path, map_location="cpu", weights_only=True)
        warnings.warn(f"{path} is damaged (its SHA-256 is not {expected[:12]}...)", stacklevel=2)
    if stored:
        raise CheckpointError(
            f"{folder}: every checkpoint is damaged; delete the folder to restart"
        )
    return None


def newest_checkpoint(folder: Path) -> Path | None:
    """Where the newest checkpoint lies, sound or not; None where there is none."""
    return next((path for _, path in _stored(folder)), None)


def delete_checkpoints(folder: Path) -> None:
    """Removes every checkpoint and what an interrupted save has left."""
    for _, path in _stored(folder):
        path.unlink(missing_ok=True)
    _partial(folder).unlink(missing_ok=True)


def _partial(folder: Path) -> Path:
    """Where each checkpoint is built, so that there is never more than one unfinished."""
    return partial_path(folder / "step")


def _stored(folder: Path) -> list[tuple[int, Path]]:
    """Steps and paths of the checkpoints there are, newest first."""
    if not folder.is_dir():
        return []
    matches = [(_NAME.match(path.name), path) for path in folder.iterdir()]
    return sorted(((int(m[1]), path) for m, path in matches if m), reverse=True)


def _digest_in_name(path: Path) -> str:
    return path.stem.rpartition("-")[2]
