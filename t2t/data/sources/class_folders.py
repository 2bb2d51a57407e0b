"""Images in one folder for each class, looked at without opening them."""

import os
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from t2t.data.sources.indexed import FileSplit, Place
from t2t.errors import DataError
from t2t.files import sha256_file

IMAGE_SUFFIXES = (
    *(".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif"),
    *(".tif", ".tiff", ".ppm", ".pgm", ".pbm"),
)
# Up to here a set's fingerprint covers every file's SHA-256, beyond it names and lengths.
HASHED_BYTES = 20 * 10**9
LISTED_NAMES = 5


@dataclass(frozen=True, eq=False)
class Listing:
    """The images below `root`/`folder`, sorted by class and name; names are relative to `folder`.

    `labels` (n,) are positions in `classes`, `sizes` (n,) are bytes, `ignored` counts what is no
    image by extension.
    """

    root: Path
    folder: str
    classes: tuple[str, ...]
    labels: NDArray[np.int64]
    sizes: NDArray[np.int64]
    names: tuple[str, ...]
    ignored: Counter[str]

    def split(self) -> FileSplit:
        """As a split of unhashed files."""
        return FileSplit(self.root, Place(self.folder), self.labels, self.sizes, self.names)


def list_class_folders(root: Path, folder: str, below: str = "") -> Listing:
    """What lies in `root`/`folder`/`below`/<class>/; names start with `below`.

    Raises DataError for a hidden folder, a folder inside a class, a class without images, fewer
    than two classes, and a name that an index cannot hold.
    """
    place = root / folder / below
    entries = sorted(os.scandir(place), key=lambda entry: entry.name)
    classes = tuple(entry.name for entry in entries if entry.is_dir())
    _check_class_names(place, classes)
    ignored: Counter[str] = Counter(_kind(entry.name) for entry in entries if entry.is_file())
    labels, sizes, names = [], [], []
    for label, name in enumerate(classes):
        images = _images(place / name, ignored)
        labels += [label] * len(images)
        sizes += images.values()
        names += ["/".join(filter(None, (below, name, image))) for image in images]
    check_names(str(place), names)
    arrays = (np.array(labels, np.int64), np.array(sizes, np.int64))
    return Listing(root, folder, classes, *arrays, tuple(names), ignored)


def _check_class_names(place: Path, classes: tuple[str, ...]) -> None:
    hidden = [name for name in classes if name.startswith(".")]
    if hidden:
        raise DataError(
            f"{place}: {', '.join(hidden)} is a hidden folder, which would count as a class; "
            "move it away"
        )
    if not classes:
        raise DataError(f"{place}: no class folders; images are expected in <class>/ below it")
    if len(classes) == 1:
        raise DataError(
            f"{place}: one folder only, {classes[0]}/, and two classes are the least; "
            "is this one level too high?"
        )


def _images(folder: Path, ignored: Counter[str]) -> dict[str, int]:
    """Name and bytes of each image in a class's folder; adds to `ignored`."""
    images = {}
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        if entry.is_dir():
            raise DataError(
                f"{folder}: holds the folder {entry.name}/, where images are expected; "
                "is the path one level too high?"
            )
        if _kind(entry.name) in IMAGE_SUFFIXES:
            images[entry.name] = _size(entry)
        else:
            ignored[_kind(entry.name)] += 1
    if not images:
        raise DataError(f"{folder}: a class without images ({', '.join(IMAGE_SUFFIXES)})")
    return images


def _size(entry: "os.DirEntry[str]") -> int:
    try:
        return entry.stat().st_size
    except OSError as error:
        raise DataError(f"{entry.path}: {error.strerror}; bring it back or remove it") from None


def _kind(name: str) -> str:
    if name.startswith("."):
        return "hidden"
    return os.path.splitext(name)[1].lower() or "no extension"


def check_names(place: str, names: list[str]) -> None:
    """Raises DataError for names that the lines of an index cannot hold."""
    for name in names:
        if any(mark in name for mark in "\t\n\r") or not _is_utf8(name):
            raise DataError(f"{place}: rename {name!r}: tabs, line ends or no UTF-8 in it")


def _is_utf8(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def check_same_classes(train: tuple[str, ...], val: tuple[str, ...], place: str) -> None:
    """Raises DataError listing the classes that only one of the two splits has."""
    differences = [
        f"{len(names)} only in {split}/: {', '.join(sorted(names)[:LISTED_NAMES])}"
        + ", ..." * (len(names) > LISTED_NAMES)
        for split, names in (("train", set(train) - set(val)), ("val", set(val) - set(train)))
        if names
    ]
    if differences:
        raise DataError(f"{place}: train and val have other classes; {'; '.join(differences)}")


def hashed(
    splits: Mapping[str, FileSplit], up_to_bytes: int = HASHED_BYTES
) -> dict[str, FileSplit]:
    """The splits with every loose file's SHA-256, or unchanged where they sum to more bytes."""
    if sum(int(split.sizes.sum()) for split in splits.values()) > up_to_bytes:
        return dict(splits)
    return {name: _hashed(split) for name, split in splits.items()}


def _hashed(split: FileSplit) -> FileSplit:
    if split.offsets is not None:
        return split
    with ThreadPoolExecutor() as pool:  # hashlib lets other threads run
        paths = map(Path, map(split.path_of, range(len(split))))
        sha256 = tuple(pool.map(sha256_file, paths))
    return FileSplit(split.root, split.place, split.labels, split.sizes, split.names, sha256)


def counted(ignored: Counter[str]) -> dict[str, int]:
    """What was left out, by extension, as a manifest says it."""
    return dict(sorted(ignored.items()))
