"""Photographs as files, of every kind a folder of images may hold, and a split of them."""

import io
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image

ORIENTATION = 0x0112


@cache
def _sample(number: int) -> Image.Image:
    # Here, for the processes that read `Files` have no use for scikit-learn.
    from sklearn.datasets import load_sample_image

    return Image.fromarray(load_sample_image(("china.jpg", "flower.jpg")[number]))


def photograph(number: int, height: int, width: int) -> Image.Image:
    """An RGB photograph, another view for each number."""
    rng = np.random.default_rng(number)
    left, top = int(rng.integers(0, 240)), int(rng.integers(0, 127))
    view = _sample(number % 2).crop((left, top, left + 400, top + 300))
    return view.resize((width, height), Image.Resampling.BICUBIC)


def jpeg(image: Image.Image, **arguments) -> bytes:
    """The image as a JPEG file."""
    file = io.BytesIO()
    image.save(file, "JPEG", **arguments)
    return file.getvalue()


def turned(orientation: int) -> Image.Exif:
    """EXIF data with that orientation."""
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    return exif


def write_photographs(folder: Path, count: int = 40) -> "Files":
    """A folder of small photographs of many sizes, every eighth of an odd kind; two classes."""
    folder.mkdir(parents=True)
    for number in range(count):
        image = photograph(number, 30 + 7 * (number % 11), 100 - 9 * (number % 10))
        kinds = {
            1: lambda image=image: jpeg(image.convert("L")),
            2: lambda image=image: jpeg(image, exif=turned(6)),
            3: lambda image=image: jpeg(image, progressive=True),
            4: lambda image=image: jpeg(image.convert("CMYK")),
        }
        content = kinds.get(number % 8, lambda image=image: jpeg(image, quality=95))()
        (folder / f"{number:03}.jpg").write_bytes(content)
    image = photograph(7, 64, 64)
    image.convert("RGBA").save(folder / "007.jpg", "PNG")  # the name is wrong, as in real sets
    return Files(tuple(sorted(folder.iterdir())))


@dataclass(frozen=True)
class Files:
    """Images read from files, two classes in turn, as a folder source would give them."""

    paths: tuple[Path, ...]

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        return Image.open(self.paths[index]), index % 2

    def path_of(self, index: int) -> str:
        return str(self.paths[index])
