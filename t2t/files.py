"""Files that are either whole or absent, and their fingerprints."""

import errno
import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

CHUNK_BYTES = 1 << 22
# What a full disk, a quota or a limit on the size of files is called.
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# The key under which a JSON object carries the SHA-256 of all its other keys.
SEAL = "content_sha256"


def sha256_file(path: Path) -> str:
    """Hex SHA-256 of a file's bytes. Raises OSError where it cannot be read."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def sha256_text(text: str) -> str:
    """Hex SHA-256 of a text in UTF-8."""
    return hashlib.sha256(text.encode()).hexdigest()


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


def sealed(content: Mapping[str, Any]) -> dict[str, Any]:
    """`content` with its seal, by which a later change of any value is noticed."""
    return {**content, SEAL: _sha256_of(content)}


def is_sealed(content: Mapping[str, Any]) -> bool:
    """Whether `content`, as read from JSON, is what `sealed` gave."""
    try:
        return content.get(SEAL) == _sha256_of(
            {key: value for key, value in content.items() if key != SEAL}
        )
    except ValueError:  # NaN, which is never written
        return False


def _sha256_of(content: Mapping[str, Any]) -> str:
    return sha256_text(json_text(content))


def write_text(path: Path, text: str) -> None:
    """Write `text` at `path` as UTF-8, atomically; its line ends stay what they are."""
    partial = partial_path(path)
    try:
        partial.write_text(text, encoding="utf-8", newline="")
        commit(partial, path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def write_json(path: Path, value: Any) -> None:
    """Write `value` at `path` atomically."""
    write_text(path, json_text(value))
