"""Checking a shard before it is read."""

import contextlib
import hashlib
import os
from pathlib import Path

import numpy as np

from t2t.data.beton import REMEDY, BetonFile
from t2t.data.shard_manifest import ShardManifest, load_manifest
from t2t.errors import DataError
from t2t.files import sha256_file

ALWAYS_HASHED_BYTES = 10**9


def verify_shard(path: Path) -> ShardManifest:
    """Check a shard against its manifest and return the manifest.

    Manifest, size and header are checked each time, and so is the SHA-256 of a file below 1 GB. A
    larger one takes minutes; it is hashed once, and again when its path, size, modification time
    or inode is another. That it was, an empty file in the user's cache folder ($XDG_CACHE_HOME, or
    ~/.cache) remembers, since one beside the shard would change an output of DVC's. What changes
    bits and leaves the time alone, such as a failing disk, is then found where a JPEG cannot be
    decoded any more, or not at all: delete `t2t-lab` in that folder to have everything hashed.

    Raises DataError naming the file and what is wrong.
    """
    manifest = load_manifest(path)
    if not path.is_file():
        raise DataError(f"{path}: missing, though its manifest is there; {REMEDY}")
    found = path.stat().st_size
    if found != manifest.bytes:
        raise DataError(f"{path}: {found} bytes, its manifest says {manifest.bytes}; {REMEDY}")
    _check_contents(BetonFile(path), manifest)
    _check_hash(path, manifest)
    return manifest


def _check_contents(beton: BetonFile, manifest: ShardManifest) -> None:
    for what, found, said in (
        ("samples", beton.num_samples, manifest.num_samples),
        ("as its write mode", beton.write_mode, manifest.write_mode),
        ("samples by class", _class_counts(beton, len(manifest.classes)), list(manifest.counts)),
    ):
        if found != said:
            raise DataError(f"{beton.path}: {found} {what}, its manifest says {said}; {REMEDY}")
    least = int(np.minimum(beton.heights, beton.widths).min())
    most = int(np.maximum(beton.heights, beton.widths).max())
    side = manifest.image_size if manifest.write_mode == "raw" else manifest.max_side_px
    if side is not None and most > side or manifest.write_mode == "raw" and least != side:
        raise DataError(
            f"{beton.path}: images with sides of {least} to {most} px, its manifest says {side}; "
            f"{REMEDY}"
        )


def _class_counts(beton: BetonFile, num_classes: int) -> list[int]:
    known = beton.labels[(beton.labels >= 0) & (beton.labels < num_classes)]
    return np.bincount(known, minlength=num_classes).tolist()


def _check_hash(path: Path, manifest: ShardManifest) -> None:
    mark = _mark(path, manifest) if manifest.bytes >= ALWAYS_HASHED_BYTES else None
    if mark is not None and mark.exists():
        return
    digest = sha256_file(path)
    if digest != manifest.sha256:
        raise DataError(f"{path}: damaged, SHA-256 {digest} is not its manifest's; {REMEDY}")
    if mark is not None:
        # Without a folder to write to, the next start hashes again.
        with contextlib.suppress(OSError):
            mark.parent.mkdir(parents=True, exist_ok=True)
            mark.touch()


def _mark(path: Path, manifest: ShardManifest) -> Path | None:
    """The file whose presence says that this state of the shard was hashed and found sound."""
    try:
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    except RuntimeError:  # a user without a home
        return None
    status = path.stat()
    state = [str(path.resolve()), status.st_size, status.st_mtime_ns, status.st_ino]
    name = hashlib.sha256(f"{state} {manifest.sha256}".encode()).hexdigest()
    return cache / "t2t-lab" / "verified-shards" / name
