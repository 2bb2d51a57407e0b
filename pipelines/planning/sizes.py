"""How many images a scale has, from what is made already, or what its source is known to hold."""

import functools
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipelines.params.data import DataParams, Digits
from pipelines.params.reader import Params
from t2t.data.shard_manifest import load_manifest
from t2t.data.subset import nested_subset
from t2t.errors import DataError

# Images of the splits train and val, and classes, as published. What an adapter checks is there.
_PUBLISHED = {
    "cifar10": (50_000, 10_000, 10),
    "cifar100": (50_000, 10_000, 100),
    "flowers102": (2 * 1020, 6149, 102),
}
_IMAGENETTE_CLASSES = 10


@dataclass(frozen=True)
class DataSize:
    """Images of a scale. `known_from` says where that stands; `counts` are training images by
    class, empty where only their sum is known."""

    train_images: int
    val_images: int
    num_classes: int
    known_from: str
    counts: tuple[int, ...] = ()

    def trained_on(self, fraction: float) -> int:
        """How many training images a recipe's `train_fraction` leaves."""
        if fraction == 1:
            return self.train_images
        if not self.counts:
            return round(fraction * self.train_images)
        return _subset_size(self.counts, fraction)


@functools.cache
def _subset_size(counts: tuple[int, ...], fraction: float) -> int:
    return len(nested_subset(np.repeat(np.arange(len(counts)), counts), fraction))


def data_size(params: Params, scale: str, root: Path, fresh: bool) -> DataSize | None:
    """The scale's images, or None where nobody can tell before the data are prepared.

    fresh: whether the shards below `root` are what they would be if they were written again; if
    not, what params.yaml asks for comes first.
    """
    folder = root / "data" / "shards" / scale
    stored = _stored(folder) or _prepared(root / "data" / "raw" / scale)
    if fresh and stored:
        return stored
    return _published(params, scale) or stored


def _stored(folder: Path) -> DataSize | None:
    try:
        train, val = (load_manifest(folder / f"{split}.beton") for split in ("train", "val"))
    except DataError:
        return None
    size = (train.num_samples, val.num_samples, len(train.classes))
    return DataSize(*size, "the shards", train.counts)


def _prepared(folder: Path) -> DataSize | None:
    try:
        counts = json.loads((folder / "manifest.json").read_text())["counts"]
        train, val = (tuple(counts[split].values()) for split in ("train", "val"))
    except (OSError, ValueError, KeyError):
        return None
    return DataSize(sum(train), sum(val), len(train), "the prepared set", train)


def _published(params: Params, scale: str) -> DataSize | None:
    data = params.part(f"scales.{scale}.data", DataParams)
    if data.source == "imagenet":
        from t2t.data.sources.adapters.imagenet import ilsvrc2012

        release = ilsvrc2012()
        size = release.images["train"], release.images["val"], release.classes
    elif data.source == "imagenette":
        from t2t.data.sources.adapters.imagenette import IMAGES

        size = IMAGES["train"], IMAGES["val"], _IMAGENETTE_CLASSES
    elif isinstance(data, Digits):
        return _digits(data)
    elif data.source in _PUBLISHED:
        size = _PUBLISHED[data.source]
    else:
        return None
    return DataSize(*size, f"what {data.source} is known to hold")


def _digits(data: Digits) -> DataSize:
    """The set comes with scikit-learn: split as the stage `prepare` would."""
    from t2t.data.sources import load_source

    source = load_source("digits", split_seed=data.split_seed, val_fraction=data.val_fraction)
    counts = np.bincount(source.split("train").labels).tolist()
    size = (sum(counts), len(source.split("val")), len(source.classes))
    return DataSize(*size, "what digits is known to hold", tuple(counts))
