"""Splits small enough to be held in memory, prepared as two .npy files each."""

import hashlib
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image


@dataclass(frozen=True)
class ArraySplit:
    """Images held as one array: (n, H, W) grey or (n, H, W, 3) RGB, uint8; labels (n,) int64."""

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int, /) -> tuple[Image.Image, int]:
        return Image.fromarray(self.images[index]), int(self.labels[index])

    def feed(self, digest: "hashlib._Hash", name: str) -> None:
        """Adds shape, pixels and labels to `digest`."""
        digest.update(f"{name} {self.images.shape}".encode())
        digest.update(self.images.tobytes())
        digest.update(self.labels.tobytes())

    def content_hashes(self) -> list[bytes]:
        """One hash for each image's pixels."""
        return [hashlib.sha256(image.tobytes()).digest() for image in self.images]

    def save(self, folder: Path, name: str) -> dict[str, Any]:
        """Writes images_<name>.npy and labels_<name>.npy."""
        _save(folder / f"images_{name}.npy", self.images)
        _save(folder / f"labels_{name}.npy", self.labels)
        return {}


def _save(path: Path, array: NDArray[Any]) -> None:
    # In memory first: where the disk is full, numpy's own writing hides the reason.
    buffer = io.BytesIO()
    np.save(buffer, array)
    path.write_bytes(buffer.getbuffer())


def load_arrays(folder: Path, name: str) -> ArraySplit:
    """The split that `ArraySplit.save` wrote."""
    return ArraySplit(
        np.load(folder / f"images_{name}.npy"), np.load(folder / f"labels_{name}.npy")
    )
