"""Images that occur more than once: inside a split, or in two of them."""

import hashlib
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from PIL import Image

LISTED_TWINS = 100


def shown_hash(upright: Image.Image) -> int:
    """What tells images apart by what they show: 64 bits of the SHA-256 of size and RGB pixels.

    Among 1.3 million different images, any two are taken for one with a chance of 5e-8.
    """
    digest = hashlib.sha256(f"{upright.size}".encode())
    digest.update(upright.tobytes())
    return int.from_bytes(digest.digest()[:8], "little")


@dataclass
class ShownImages:
    """The images of one split: `shown_hash` of each, and its index in the source."""

    hashes: "array[int]" = field(default_factory=lambda: array("Q"))
    indices: "array[int]" = field(default_factory=lambda: array("q"))

    def add(self, index: int, shown: int) -> None:
        """The image `index` shows `shown`."""
        self.hashes.append(shown)
        self.indices.append(index)

    def repeated(self) -> Iterator[tuple[int, int]]:
        """Each image that shows what an earlier one does, with the first that does."""
        hashes, indices = self._arrays()
        _, first, which = np.unique(hashes, return_index=True, return_inverse=True)
        place = first[which]
        for later in np.flatnonzero(place != np.arange(len(hashes))).tolist():
            yield int(indices[later]), int(indices[place[later]])

    def shared_with(self, other: "ShownImages") -> Iterator[tuple[int, int]]:
        """Each image that `other` has too, with the first of its images that shows the same."""
        (ours, indices), (theirs, their_indices) = self._arrays(), other._arrays()
        known, first = np.unique(theirs, return_index=True)
        places = np.minimum(np.searchsorted(known, ours), max(0, len(known) - 1))
        found = np.flatnonzero(known[places] == ours) if len(known) else []
        for place in found:
            yield int(indices[place]), int(their_indices[first[places[place]]])

    def _arrays(self) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
        return np.array(self.hashes, np.uint64), np.array(self.indices, np.int64)


# What the shards of a set hold that were written so far, by split.
KnownImages = dict[str, ShownImages]


def twins_of(split: str, images: ShownImages, known: KnownImages) -> tuple[list[str], list[str]]:
    """What of `images` repeats inside the split, and what other splits in `known` have too."""
    inside = [f"image {later} is image {first}" for later, first in images.repeated()]
    outside = [
        f"image {ours} is image {theirs} of {name}"
        for name, others in known.items()
        if name != split
        for ours, theirs in images.shared_with(others)
    ]
    return inside, outside
