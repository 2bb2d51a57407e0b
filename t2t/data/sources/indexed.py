"""Splits whose images stay in the files they came in; prepared is an index, `<split>.tsv`.

A row of an index is an image: label, length in bytes, a third column, name. Loose files are named
below the set's folder, and the third column is their SHA-256, or empty where the set is too large
to be hashed. In an uncompressed tar the name is the member's and the third column its offset.
"""

import csv
import hashlib
import io
import os
from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from t2t.data.sources.roots import Roots
from t2t.data.sources.source import REMEDY
from t2t.errors import DataError

# Pillow goes by a file's content, and would hand an EPS called .png to Ghostscript. The .jpg of
# several pictures that some cameras write (MPO) is opened as JPEG.
IMAGE_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM")
LISTED_FILES = 5
COLUMNS: dict[Hashable, Any] = {
    **{"label": "int64", "bytes": "int64", "offset": "int64"},
    **{"sha256": "str", "name": "str"},
}
# Nothing watches the raw files, so that nothing else would prepare them again.
FORCED = f"bring it back, or {REMEDY} by force"


@dataclass(frozen=True)
class Place:
    """Where the images of a split lie: the folder or the tar `path`, relative to a root.

    `bytes` and `md5` are the tar's, None for a folder.
    """

    path: str
    bytes: int | None = None
    md5: str | None = None


@dataclass(frozen=True, eq=False)
class FileSplit:
    """Images in files, opened one by one as they are asked for; picklable.

    Row i of `labels` (n,), `sizes` (n,) in bytes, `names`, and of `sha256` or `offsets` (n,) where
    there are any, is image i. `root` is the folder that `place` is relative to on this machine.
    """

    root: Path
    place: Place
    labels: NDArray[np.int64]
    sizes: NDArray[np.int64]
    names: tuple[str, ...]
    sha256: tuple[str, ...] | None = None
    offsets: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int, /) -> tuple[Image.Image, int]:
        """Image and label. Raises DataError naming a file that is gone, changed or no image."""
        data = self._read(index)
        if self.sha256 is not None and hashlib.sha256(data).hexdigest() != self.sha256[index]:
            raise DataError(f"{self.path_of(index)}: changed since it was prepared; {FORCED}")
        try:
            image = Image.open(io.BytesIO(data), formats=IMAGE_FORMATS)
        except UnidentifiedImageError:
            known = ", ".join(IMAGE_FORMATS)
            raise DataError(f"{self.path_of(index)}: no image in one of {known}") from None
        image.filename = self.path_of(index)
        return image, int(self.labels[index])

    def path_of(self, index: int) -> str:
        """The image's file, or its tar and name in it, as an error message names it."""
        return f"{self.root / self.place.path}/{self.names[index]}"

    def _read(self, index: int) -> bytes:
        size = int(self.sizes[index])
        try:
            if self.offsets is None:
                data = Path(self.path_of(index)).read_bytes()
            else:
                with (self.root / self.place.path).open("rb") as tar:
                    tar.seek(int(self.offsets[index]))
                    data = tar.read(size)
        except OSError as error:
            raise DataError(f"{self.path_of(index)}: {error.strerror}; {FORCED}") from None
        if len(data) != size:
            raise DataError(
                f"{self.path_of(index)}: {len(data)} bytes, {size} when it was prepared; {FORCED}"
            )
        return data

    def taken(self, rows: NDArray[np.int64]) -> "FileSplit":
        """The split of these rows, in their order."""
        return FileSplit(
            self.root,
            self.place,
            self.labels[rows],
            self.sizes[rows],
            tuple(self.names[row] for row in rows),
            None if self.sha256 is None else tuple(self.sha256[row] for row in rows),
            None if self.offsets is None else self.offsets[rows],
        )

    def feed(self, digest: "hashlib._Hash", name: str) -> None:
        """Adds the index to `digest`, and the tar's MD5 where that stands for the contents."""
        digest.update(f"{name} {self.place.md5}\n{self._text()}".encode())

    def content_hashes(self) -> list[bytes] | None:
        """Each file's SHA-256, where the index has it."""
        if self.sha256 is None:
            return None
        return [bytes.fromhex(value) for value in self.sha256]

    def save(self, folder: Path, name: str) -> dict[str, Any]:
        """Writes <name>.tsv; the manifest must say where its images lie."""
        (folder / f"{name}.tsv").write_bytes(self._text().encode())
        place = {"path": self.place.path, "bytes": self.place.bytes, "md5": self.place.md5}
        return {"places": {name: place}}

    def _text(self) -> str:
        third = self.sha256 if self.offsets is None else self.offsets
        column = [""] * len(self) if third is None else third
        rows = zip(self.labels, self.sizes, column, self.names, strict=True)
        header = ("label", "bytes", "sha256" if self.offsets is None else "offset", "name")
        return "".join("\t".join(map(str, row)) + "\n" for row in (header, *rows))

    def check(self) -> None:
        """Raises DataError naming files that are missing or not as long as they were."""
        path = self.root / self.place.path
        if self.place.bytes is not None and path.stat().st_size != self.place.bytes:
            raise DataError(
                f"{path}: {path.stat().st_size} bytes, {self.place.bytes} when it was prepared; "
                f"{FORCED}"
            )
        problems = list(self._problems()) if self.place.bytes is None else []
        if problems:
            more = f" and {len(problems) - LISTED_FILES} more" * (len(problems) > LISTED_FILES)
            raise DataError(f"{'; '.join(problems[:LISTED_FILES])}{more}; {FORCED}")

    def _problems(self) -> Iterator[str]:
        for index, size in enumerate(self.sizes.tolist()):
            path = self.path_of(index)
            try:
                found = os.stat(path).st_size
            except OSError as error:
                yield f"{path}: {error.strerror}"
                continue
            if found != size:
                yield f"{path}: {found} bytes, {size} when it was prepared"


def load_index(folder: Path, name: str, place: Place, roots: Roots) -> FileSplit:
    """The split that `FileSplit.save` wrote, its files found below the first root that has them.

    Raises DataError where the images' folder or tar is below no root, where a file is missing or
    of another length, and for an index that is none.
    """
    from pandas import read_csv

    root = roots.find(place.path)
    if root is None:
        raise DataError(f"{place.path}: not in {roots.described}; {FORCED}")
    index = folder / f"{name}.tsv"
    try:
        table = read_csv(index, sep="\t", quoting=csv.QUOTE_NONE, na_filter=False, dtype=COLUMNS)
        split = _split_of(root, place, table)
    except (ValueError, KeyError) as error:
        raise DataError(f"{index}: no index of images ({error!r}); {REMEDY}") from None
    split.check()
    return split


def _split_of(root: Path, place: Place, table: Any) -> FileSplit:
    sha256 = tuple(table["sha256"]) if "sha256" in table else ()
    return FileSplit(
        root,
        place,
        table["label"].to_numpy(),
        table["bytes"].to_numpy(),
        tuple(table["name"]),
        sha256 if any(sha256) else None,
        table["offset"].to_numpy() if "offset" in table else None,
    )
