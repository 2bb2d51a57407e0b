"""What is known of a shard, kept as JSON beside it: `<shard>.json`."""

import json
import typing
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from t2t.errors import DataError
from t2t.files import write_json

MANIFEST_VERSION = 1


@dataclass(frozen=True)
class ShardManifest:
    """The contents and the fingerprint of one .beton file.

    `classes` are in label order, `counts` are samples by class in the same order. `channel_mean`
    and `channel_std` are over all stored pixels, R, G, B, in units of the range 0..1.
    `pixels_sha256` covers the stored pixels and labels in order, `sha256` the file.
    """

    format_version: int
    split: str
    num_samples: int
    classes: tuple[str, ...]
    counts: tuple[int, ...]
    image_size: int
    crop_pct: float
    write_mode: str
    source_fingerprint: str
    channel_mean: tuple[float, ...]
    channel_std: tuple[float, ...]
    pixels_sha256: str
    sha256: str
    bytes: int

    def save(self, shard: Path) -> None:
        """Write the manifest beside the shard, atomically."""
        write_json(manifest_path(shard), asdict(self))


def manifest_path(shard: Path) -> Path:
    """The manifest's place for a shard's path."""
    return shard.with_name(f"{shard.name}.json")


def load_manifest(shard: Path) -> ShardManifest:
    """Read and check a shard's manifest.

    Raises DataError naming the manifest and the key that is missing, unknown, of another type or
    at odds with another.
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
    values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in raw.items()}
    return ShardManifest(**values)


def _problem(raw: Any) -> str | None:
    if not isinstance(raw, dict):
        return f"holds a {type(raw).__name__}, expected an object"
    if raw.get("format_version") != MANIFEST_VERSION:
        return f"format_version {raw.get('format_version')}, expected {MANIFEST_VERSION}"
    kinds = {field.name: field.type for field in fields(ShardManifest)}
    if raw.keys() != kinds.keys():
        return f"missing or unknown keys: {', '.join(sorted(raw.keys() ^ kinds.keys()))}"
    for name, kind in kinds.items():
        if not _fits(raw[name], kind):
            return f"{name} is {raw[name]!r}, expected {getattr(kind, '__name__', kind)}"
    if len(raw["counts"]) != len(raw["classes"]) or sum(raw["counts"]) != raw["num_samples"]:
        return "counts do not match classes and num_samples"
    return None


def _fits(value: Any, kind: Any) -> bool:
    if typing.get_origin(kind) is tuple:
        item = typing.get_args(kind)[0]
        return isinstance(value, list) and all(_fits(entry, item) for entry in value)
    return type(value) is kind
