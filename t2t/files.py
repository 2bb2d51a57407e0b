"""Files that are either whole or absent, and their fingerprints."""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

CHUNK_BYTES = 1 << 22


def sha256_file(path: Path) -> str:
    """Hex SHA-256 of a file's bytes. Raises OSError where it cannot be read."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def fsync_path(path: Path) -> None:
    """Force a file's or folder's content to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def partial_path(path: Path) -> Path:
    """Where `path` is built before it is renamed: hidden, beside it, the same at each attempt.

    The fixed name lets the next attempt sweep what a killed one left.
    """
    return path.with_name(f".{path.name}.partial")


def commit(partial: Path, path: Path) -> None:
    """Give a finished file its name: fsync, rename, fsync of the folder."""
    fsync_path(partial)
    os.replace(partial, path)
    fsync_path(path.parent)


def json_text(value: Any) -> str:
    """The one JSON form of manifests: sorted keys, so equal values give equal bytes."""
    return json.dumps(value, indent=1, sort_keys=True, allow_nan=False) + "\n"


def write_json(path: Path, value: Any) -> None:
    """Write `value` at `path` atomically."""
    partial = partial_path(path)
    partial.write_text(json_text(value))
    commit(partial, path)
