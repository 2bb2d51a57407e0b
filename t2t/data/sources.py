"""Raw data sets, and their prepared form: deterministic files with a manifest.

A source gives named splits of (image, label). `prepare` writes one down once; `open_prepared`
reads it back and is a source again, which the shard writer takes. Another data set is another
function in `ADAPTERS` that returns a `Source`.
"""

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from t2t.data.types import Split
from t2t.errors import ConfigError, DataError, EnvironmentProblem
from t2t.files import fsync_path, json_text, partial_path, sha256_file

PREPARED_VERSION = 1
SPLITS = ("train", "val")
MANIFEST = "manifest.json"


class Source(Protocol):
    """A data set with its classes, in the order of their labels."""

    @property
    def name(self) -> str: ...

    @property
    def classes(self) -> tuple[str, ...]: ...

    @property
    def fingerprint(self) -> str:
        """Hex SHA-256 over classes, images and labels of all splits."""
        ...

    def split(self, name: str) -> Split:
        """The split of that name. Raises ConfigError for an unknown one."""
        ...


@dataclass(frozen=True)
class ArraySplit:
    """Images held as one array: (n, H, W) grey or (n, H, W, 3) RGB, uint8; labels (n,) int64."""

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int, /) -> tuple[Image.Image, int]:
        return Image.fromarray(self.images[index]), int(self.labels[index])


@dataclass(frozen=True)
class ArraySource:
    """A source small enough to be held in memory."""

    name: str
    classes: tuple[str, ...]
    splits: dict[str, ArraySplit]

    def split(self, name: str) -> ArraySplit:
        """The split of that name. Raises ConfigError for an unknown one."""
        if name not in self.splits:
            raise ConfigError(f"{self.name}: no split {name!r}; there are {', '.join(self.splits)}")
        return self.splits[name]

    @property
    def fingerprint(self) -> str:
        digest = hashlib.sha256(json_text([self.name, self.classes]).encode())
        for name in sorted(self.splits):
            part = self.splits[name]
            digest.update(f"{name} {part.images.shape}".encode())
            digest.update(part.images.tobytes())
            digest.update(part.labels.tobytes())
        return digest.hexdigest()


def digits(*, split_seed: int, val_fraction: float) -> ArraySource:
    """The 1,797 scans of handwritten digits in scikit-learn: 8x8 grey, 0..16 scaled to 0..255.

    The split is stratified by class; each part keeps the order of the set. Raises
    EnvironmentProblem where scikit-learn is not installed.
    """
    try:
        from sklearn.datasets import load_digits
        from sklearn.model_selection import train_test_split
    except ImportError as error:
        raise EnvironmentProblem(f"digits needs scikit-learn ({error}); install it") from None

    bunch: Any = load_digits()
    images = np.round(bunch.images * (255 / 16)).astype(np.uint8)
    labels = bunch.target.astype(np.int64)
    parts = train_test_split(
        np.arange(len(labels)), test_size=val_fraction, random_state=split_seed, stratify=labels
    )
    splits = {
        name: ArraySplit(images[np.sort(part)], labels[np.sort(part)])
        for name, part in zip(SPLITS, parts, strict=True)
    }
    return ArraySource("digits", tuple(str(name) for name in bunch.target_names), splits)


ADAPTERS: dict[str, Callable[..., ArraySource]] = {"digits": digits}


def prepare(
    source_name: str, out_dir: Path, *, split_seed: int, val_fraction: float
) -> dict[str, Any]:
    """Write a source as files under `out_dir`, whole or not at all, and return the manifest.

    Equal arguments give equal bytes. An earlier `out_dir` is replaced.

    Raises ConfigError for an unknown source or a fraction outside (0, 1).
    """
    if source_name not in ADAPTERS:
        raise ConfigError(f"unknown source {source_name!r}; there are {', '.join(ADAPTERS)}")
    if not 0 < val_fraction < 1:
        raise ConfigError(f"val_fraction must lie between 0 and 1, not {val_fraction}")
    source = ADAPTERS[source_name](split_seed=split_seed, val_fraction=val_fraction)
    partial = partial_path(out_dir)
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        manifest = _write(source, partial, split_seed, val_fraction)
        _commit_folder(partial, out_dir)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return manifest


def _write(
    source: ArraySource, folder: Path, split_seed: int, val_fraction: float
) -> dict[str, Any]:
    for name, part in source.splits.items():
        np.save(folder / f"images_{name}.npy", part.images)
        np.save(folder / f"labels_{name}.npy", part.labels)
    manifest = {
        "format_version": PREPARED_VERSION,
        "name": source.name,
        "classes": list(source.classes),
        "counts": {name: _class_counts(source, name) for name in source.splits},
        "split_seed": split_seed,
        "val_fraction": val_fraction,
        "fingerprint": source.fingerprint,
        "leaked_val_images": leaked_images(source.split("train"), source.split("val")),
        "files": {file.name: sha256_file(file) for file in sorted(folder.iterdir())},
    }
    (folder / MANIFEST).write_text(json_text(manifest))
    for file in folder.iterdir():
        fsync_path(file)
    return manifest


def _class_counts(source: ArraySource, split: str) -> dict[str, int]:
    counts = np.bincount(source.split(split).labels, minlength=len(source.classes))
    return {name: int(count) for name, count in zip(source.classes, counts, strict=True)}


def leaked_images(train: Split, val: Split) -> int:
    """How many images of `val` have exactly the pixels of an image of `train`."""
    seen = {_pixel_hash(train[index][0]) for index in range(len(train))}
    return sum(_pixel_hash(val[index][0]) in seen for index in range(len(val)))


def _pixel_hash(image: Image.Image) -> bytes:
    rgb = image.convert("RGB")
    return hashlib.sha256(f"{rgb.size}".encode() + rgb.tobytes()).digest()


def _commit_folder(partial: Path, folder: Path) -> None:
    fsync_path(partial)
    if folder.exists():
        shutil.rmtree(folder)
    partial.rename(folder)
    fsync_path(folder.parent)


def open_prepared(folder: Path) -> ArraySource:
    """The source that `prepare` wrote in `folder`, after checking every file's SHA-256.

    Raises DataError naming the file that is missing, damaged or of another format.
    """
    manifest = _read_manifest(folder / MANIFEST)
    for file_name, expected in manifest["files"].items():
        path = folder / file_name
        if not path.is_file():
            raise DataError(f"{path}: missing, but {MANIFEST} lists it; prepare the data again")
        if sha256_file(path) != expected:
            raise DataError(f"{path}: damaged, SHA-256 is not {expected}; prepare the data again")
    splits = {
        name: ArraySplit(
            np.load(folder / f"images_{name}.npy"), np.load(folder / f"labels_{name}.npy")
        )
        for name in manifest["counts"]
    }
    source = ArraySource(manifest["name"], tuple(manifest["classes"]), splits)
    if source.fingerprint != manifest["fingerprint"]:
        raise DataError(
            f"{folder / MANIFEST}: fingerprint is not the files'; prepare the data again"
        )
    return source


def _read_manifest(path: Path) -> dict[str, Any]:
    try:
        manifest = json.loads(path.read_text())
        version = manifest["format_version"]
        complete = {"name", "classes", "counts", "files", "fingerprint"} <= manifest.keys()
    except FileNotFoundError:
        raise DataError(f"{path}: missing; prepare the data first") from None
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise DataError(f"{path}: unreadable ({error!r}); prepare the data again") from None
    if version != PREPARED_VERSION or not complete:
        raise DataError(
            f"{path}: format {version}, expected {PREPARED_VERSION} with all its keys; "
            "prepare the data again"
        )
    return manifest
