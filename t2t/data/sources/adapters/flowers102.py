"""Oxford Flowers-102 (Nilsback and Zisserman, 2008), split as transfer learning does.

The authors' training and validation images, 1,020 each, are trained on together, and their 6,149
test images are our val: the protocol of Kornblith et al., "Do better ImageNet models transfer
better?" (CVPR 2019), which papers on transfer follow.
"""

import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from t2t.data.sources.class_folders import hashed
from t2t.data.sources.fetch import Remote, obtain_file, obtain_folder
from t2t.data.sources.indexed import FileSplit, Place
from t2t.data.sources.roots import Roots
from t2t.data.sources.source import Source
from t2t.errors import DataError, EnvironmentProblem

FOLDER = "flowers-102"
PARTS = {"train": ("trnid", "valid"), "val": ("tstid",)}


@dataclass(frozen=True)
class Release:
    """The published files: `images` with jpg/image_00001.jpg ..., `labels` and `sets` as .mat."""

    images: Remote
    labels: Remote
    sets: Remote
    classes: tuple[str, ...]


def official() -> Release:
    """Addresses, checksums and class names as torchvision has them."""
    try:
        from torchvision.datasets import Flowers102
    except ImportError as error:
        raise EnvironmentProblem(f"flowers102 needs torchvision ({error}); install it") from None
    remotes = {
        key: Remote(Flowers102._download_url_prefix + name, md5)
        for key, (name, md5) in Flowers102._file_dict.items()
    }
    return Release(remotes["image"], remotes["label"], remotes["setid"], tuple(Flowers102.classes))


def load(roots: Roots, *, download: bool = False, release: Release | None = None) -> Source:
    """From flowers-102/: jpg/ or 102flowers.tgz, imagelabels.mat, setid.mat.

    Images are in the order of their numbers. Raises DataError where a file is missing, saying
    where to get it, or damaged; EnvironmentProblem where a download fails or scipy is missing.
    """
    release = release or official()
    labels = _matrix(roots, "imagelabels.mat", release.labels, download)["labels"] - 1
    sets = _matrix(roots, "setid.mat", release.sets, download)
    archive = f"{FOLDER}/102flowers.tgz"
    root = obtain_folder(roots, f"{FOLDER}/jpg", archive, release.images, download=download)
    splits = {}
    for split, parts in PARTS.items():
        numbers = np.sort(np.concatenate([np.atleast_1d(sets[part]) for part in parts]))
        splits[split] = _split(root, numbers.astype(np.int64), labels.astype(np.int64))
    return Source("flowers102", release.classes, hashed(splits))


def _matrix(roots: Roots, name: str, remote: Remote, download: bool) -> Mapping[str, Any]:
    try:
        from scipy.io import loadmat
    except ImportError as error:
        raise EnvironmentProblem(f"flowers102 needs scipy ({error}); install it") from None
    root = obtain_file(roots, f"{FOLDER}/{name}", remote, download=download)
    return loadmat(io.BytesIO((root / FOLDER / name).read_bytes()), squeeze_me=True)


def _split(root: Path, numbers: NDArray[np.int64], labels: NDArray[np.int64]) -> FileSplit:
    """The images of these numbers, counted from 1 as `labels` (n,) are in their order."""
    names = tuple(f"jpg/image_{number:05d}.jpg" for number in numbers)
    try:
        sizes = np.array([(root / FOLDER / name).stat().st_size for name in names], np.int64)
    except FileNotFoundError as error:
        raise DataError(
            f"{error.filename}: missing; remove {root / FOLDER / 'jpg'} and unpack "
            "102flowers.tgz again"
        ) from None
    return FileSplit(root, Place(FOLDER), labels[numbers - 1], sizes, names)
