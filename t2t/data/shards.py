"""Writing shards: a .beton file and its manifest, side by side."""

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from t2t.data.beton import PAGE_BYTES, REMEDY, BetonFile
from t2t.data.beton_writer import write_beton
from t2t.data.images import stored_pixels
from t2t.data.shard_manifest import MANIFEST_VERSION, ShardManifest, manifest_path
from t2t.data.types import Pixels, Split
from t2t.errors import ConfigError, DataError
from t2t.files import commit, partial_path, sha256_file

LISTED_PROBLEMS = 10


def write_shard(
    samples: Split,
    path: Path,
    *,
    split: str,
    classes: tuple[str, ...],
    image_size: int,
    source_fingerprint: str,
    crop_pct: float = 1.0,
    write_mode: str = "raw",
    stall_timeout_s: float = 120.0,
) -> ShardManifest:
    """Write labelled images as the shard `path` with the manifest `<path>.json`.

    Every image is decoded and checked first, turned upright, converted to RGB and brought to
    `image_size` x `image_size` pixels by the paper's evaluation view (bicubic to
    floor(image_size / crop_pct), centre crop). The file gets its name only after all of it was
    read back and compared. Equal samples give equal bytes.

    Raises ConfigError for arguments out of range, DataError for images or labels that cannot be
    stored (each named by its index) and for a writer that fails or stalls, EnvironmentProblem
    where FFCV is not installed.
    """
    _check_arguments(image_size, crop_pct, write_mode)
    survey = _survey(samples, split, classes, image_size, crop_pct)
    stored: dict[str, Any] = {"image_size": image_size, "crop_pct": float(crop_pct)}
    partial = partial_path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        write_beton(samples, partial, **stored, stall_timeout_s=stall_timeout_s)
        _check_written(partial, survey, image_size)
        given = {"split": split, "classes": tuple(classes), "write_mode": write_mode}
        facts = stored | given | survey.facts() | {"source_fingerprint": source_fingerprint}
        return _commit_shard(partial, path, facts)
    finally:
        partial.unlink(missing_ok=True)


def _commit_shard(partial: Path, path: Path, facts: dict[str, Any]) -> ShardManifest:
    manifest = ShardManifest(
        **facts,
        format_version=MANIFEST_VERSION,
        sha256=sha256_file(partial),
        bytes=partial.stat().st_size,
    )
    # Between the two renames the shard has no manifest, never another shard's.
    manifest_path(path).unlink(missing_ok=True)
    commit(partial, path)
    manifest.save(path)
    return manifest


@dataclass
class _Survey:
    """Exact integer sums over what is to be stored, taken in order."""

    counts: NDArray[np.int64]
    digest: "hashlib._Hash" = field(default_factory=hashlib.sha256)
    num_pixels: int = 0
    sums: NDArray[np.int64] = field(default_factory=lambda: np.zeros(3, np.int64))
    squares: NDArray[np.int64] = field(default_factory=lambda: np.zeros(3, np.int64))

    def add(self, pixels: Pixels, label: int) -> None:
        flat = pixels.reshape(-1, 3).astype(np.int64)
        self.num_pixels += len(flat)
        self.sums += flat.sum(0)
        self.squares += (flat * flat).sum(0)
        self.counts[label] += 1
        _add_sample(self.digest, pixels, label)

    def facts(self) -> dict[str, Any]:
        """The manifest's keys that follow from the stored pixels and labels."""
        scale = 255 * self.num_pixels
        moments = zip(self.squares.tolist(), self.sums.tolist(), strict=True)
        return {
            "num_samples": int(self.counts.sum()),
            "counts": tuple(self.counts.tolist()),
            "channel_mean": tuple(total / scale for total in self.sums.tolist()),
            "channel_std": tuple(
                (square * self.num_pixels - total**2) ** 0.5 / scale for square, total in moments
            ),
            "pixels_sha256": self.digest.hexdigest(),
        }


def _add_sample(digest: "hashlib._Hash", pixels: Pixels, label: int) -> None:
    digest.update(pixels.tobytes())
    digest.update(int(label).to_bytes(8, "little", signed=True))


def _check_arguments(image_size: int, crop_pct: float, write_mode: str) -> None:
    largest = int((PAGE_BYTES / 3) ** 0.5)
    if not 1 <= image_size <= largest:
        raise ConfigError(f"image_size must lie in 1..{largest} pixels, not {image_size}")
    if not 0 < crop_pct <= 1:
        raise ConfigError(f"crop_pct must lie in (0, 1], not {crop_pct}")
    if write_mode != "raw":
        raise ConfigError(f"write_mode must be 'raw', not {write_mode!r}")


def _survey(
    samples: Split, split: str, classes: tuple[str, ...], image_size: int, crop_pct: float
) -> _Survey:
    if len(samples) == 0:
        raise DataError(f"split {split!r} has no images; check the source")
    survey = _Survey(np.zeros(len(classes), np.int64))
    problems: list[str] = []
    for index in range(len(samples)):
        image, name = None, f"image {index}"
        try:
            image, label = samples[index]
            file_name = getattr(image, "filename", "")
            name += f" ({file_name})" if file_name else ""
            if not 0 <= label < len(classes):
                raise DataError(f"label {label} is not in 0..{len(classes) - 1}")
            survey.add(stored_pixels(image, image_size, crop_pct), label)
        except Exception as error:
            # Pillow's decoders raise many types; each means that this image cannot be stored.
            problems.append(f"{name}: {error}" if str(error) else f"{name}: {error!r}")
            if image is not None:
                image.close()
    if problems:
        more = f" and {len(problems) - LISTED_PROBLEMS} more" * (len(problems) > LISTED_PROBLEMS)
        listed = "; ".join(problems[:LISTED_PROBLEMS])
        raise DataError(f"split {split!r}: {len(problems)} bad of {len(samples)}: {listed}{more}")
    empty = [name for name, count in zip(classes, survey.counts, strict=True) if count == 0]
    if empty:
        raise DataError(f"split {split!r} has no image of class {', '.join(empty)}")
    return survey


def _check_written(path: Path, survey: _Survey, image_size: int) -> None:
    beton, digest = BetonFile(path), hashlib.sha256()
    for index in range(beton.num_samples):
        pixels = beton.pixels(index)
        if pixels.shape != (image_size, image_size, 3):
            raise DataError(f"{path}: sample {index} was stored as {pixels.shape}; {REMEDY}")
        _add_sample(digest, pixels, int(beton.labels[index]))
    if digest.digest() != survey.digest.digest():
        raise DataError(f"{path}: reading back gave other pixels or labels; {REMEDY}")
