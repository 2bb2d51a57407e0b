"""A data set as the rest of the project sees it: classes, named splits, a fingerprint."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from t2t.data.types import Split
from t2t.errors import ConfigError
from t2t.files import json_text

SPLITS = ("train", "val")
REMEDY = "prepare the data again"


class StoredSplit(Split, Protocol):
    """A split that can be written down and fingerprinted."""

    @property
    def labels(self) -> NDArray[np.int64]: ...

    def feed(self, digest: "hashlib._Hash", name: str) -> None:
        """Adds to `digest` all that makes this split what it is."""
        ...

    def content_hashes(self) -> list[bytes] | None:
        """One hash for each image, equal where images are; None where that would cost too much."""
        ...

    def save(self, folder: Path, name: str) -> dict[str, Any]:
        """Writes the split's files into `folder`; returns what the manifest must say of it."""
        ...


@dataclass(frozen=True)
class Source:
    """A data set: `classes` in label order, `splits` by name.

    `facts` are further lines of the prepared set's manifest: what the set was asked for with, what
    was left out of it.
    """

    name: str
    classes: tuple[str, ...]
    splits: Mapping[str, StoredSplit]
    facts: Mapping[str, Any] = field(default_factory=dict)

    def split(self, name: str) -> StoredSplit:
        """The split of that name. Raises ConfigError for an unknown one."""
        if name not in self.splits:
            raise ConfigError(f"{self.name}: no split {name!r}; there are {', '.join(self.splits)}")
        return self.splits[name]

    @property
    def fingerprint(self) -> str:
        """Hex SHA-256 over name, classes and splits: pixels, or what the index of files holds."""
        digest = hashlib.sha256(json_text([self.name, self.classes]).encode())
        for name in sorted(self.splits):
            self.splits[name].feed(digest, name)
        return digest.hexdigest()


def class_counts(source: Source, split: str) -> dict[str, int]:
    """How many images each class has in a split, by class name."""
    counts = np.bincount(source.split(split).labels, minlength=len(source.classes))
    return {name: int(count) for name, count in zip(source.classes, counts, strict=True)}


def leaked_images(train: StoredSplit, val: StoredSplit) -> int | None:
    """How many images of `val` are images of `train` too; None where nobody can tell cheaply.

    Equal means the same pixels for images held as arrays, the same bytes for files.
    """
    seen, asked = train.content_hashes(), val.content_hashes()
    if seen is None or asked is None:
        return None
    known = set(seen)
    return sum(content in known for content in asked)
