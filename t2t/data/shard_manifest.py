"""What is known of a shard, kept as JSON beside it: `<shard>.json`."""

import json
import types
import typing
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from t2t.errors import DataError
from t2t.files import SEAL, is_sealed, sealed, write_json

MANIFEST_VERSION = 3
# How many a warning names.
LISTED = 3
# For each mode: whether crop_pct is null, and whether quality is.
WRITE_MODES = {"raw": (False, True), "jpg": (True, False)}


@dataclass(frozen=True)
class ShardManifest:
    """The contents and the fingerprint of one .beton file.

    `classes` are in label order, `counts` are samples by class in the same order. `write_mode` is
    "raw" (squares of `image_size` pixels, by `crop_pct`) or "jpg" (whole images, longer side
    `max_side_px` at most, compressed with `quality`; to be rendered to `image_size`); the keys of
    the other mode are null. `skipped` says which images of the source were left out, and why.
    `num_duplicates` images show what an earlier one of the split does, `num_leaked` what one of
    another split does (of training, for a validation shard); `duplicates` and `leaked` list the
    first of them.
    `channel_mean` and `channel_std` are over all pixels a reader gets, R, G, B, in units of the
    range 0..1. `stored_sha256` covers what is stored of each image, and the labels, in order,
    `sha256` the file.
    """

    format_version: int
    split: str
    num_samples: int
    classes: tuple[str, ...]
    counts: tuple[int, ...]
    image_size: int
    write_mode: str
    crop_pct: float | None
    max_side_px: int | None
    quality: int | None
    source_fingerprint: str
    skipped: tuple[str, ...]
    num_duplicates: int
    duplicates: tuple[str, ...]
    num_leaked: int
    leaked: tuple[str, ...]
    channel_mean: tuple[float, ...]
    channel_std: tuple[float, ...]
    stored_sha256: str
    sha256: str
    bytes: int

    def save(self, shard: Path) -> None:
        """Write the manifest beside the shard, atomically."""
        write_json(manifest_path(shard), sealed(asdict(self)))

    def warnings(self) -> list[str]:
        """What a person should know of the images, a line each."""
        return [
            f"{self.split}: {count:,} of {self.num_samples:,} images {what} ({'; '.join(first)})"
            for count, what, first in (
                (self.num_duplicates, "show what an earlier one does", self.duplicates[:LISTED]),
                (self.num_leaked, "are in another split too", self.leaked[:LISTED]),
            )
            if count
        ]


def manifest_path(shard: Path) -> Path:
    """The manifest's place for a shard's path."""
    return shard.with_name(f"{shard.name}.json")


def load_manifest(shard: Path) -> ShardManifest:
    """Read and check a shard's manifest.

    Raises DataError naming the manifest and the key that is missing, unknown, of another type or
    at odds with another, and for one whose values were changed since it was written.
    """
    path = manifest_path(shard)
    try:
        raw = json.loads(path.read_text())
    except FileNotFoundError:
        raise DataError(f"{path}: missing; write the shard again") from None
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: unreadable ({error}); write the shard again") from None
    problem = _problem(raw)
    if problem:
        raise DataError(f"{path}: {problem}; write the shard again")
    values: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value
        for key, value in raw.items()
        if key != SEAL
    }
    return ShardManifest(**values)


def _problem(raw: Any) -> str | None:
    if not isinstance(raw, dict):
        return f"holds a {type(raw).__name__}, expected an object"
    if raw.get("format_version") != MANIFEST_VERSION:
        return f"format_version {raw.get('format_version')}, expected {MANIFEST_VERSION}"
    kinds = {field.name: field.type for field in fields(ShardManifest)}
    keys = kinds.keys() | {SEAL}
    if raw.keys() != keys:
        return f"missing or unknown keys: {', '.join(sorted(raw.keys() ^ keys))}"
    for name, kind in kinds.items():
        if not _fits(raw[name], kind):
            return f"{name} is {raw[name]!r}, expected {getattr(kind, '__name__', kind)}"
    if len(raw["counts"]) != len(raw["classes"]) or sum(raw["counts"]) != raw["num_samples"]:
        return "counts do not match classes and num_samples"
    if WRITE_MODES.get(raw["write_mode"]) != (raw["crop_pct"] is None, raw["quality"] is None):
        return f"write_mode {raw['write_mode']!r} does not match crop_pct and quality"
    if not is_sealed(raw):
        return f"changed since it was written, {SEAL} is not its content's"
    return None


def _fits(value: Any, kind: Any) -> bool:
    if typing.get_origin(kind) is tuple:
        item = typing.get_args(kind)[0]
        return isinstance(value, list) and all(_fits(entry, item) for entry in value)
    if isinstance(kind, types.UnionType):
        return any(_fits(value, option) for option in typing.get_args(kind))
    return type(value) is kind
