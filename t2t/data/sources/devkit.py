"""The ImageNet 2012 development kit: which class each of the validation images is of."""

import io
import tarfile
from pathlib import Path
from typing import Any

from t2t.data.sources.fetch import md5_file
from t2t.data.sources.roots import Roots
from t2t.errors import DataError, EnvironmentProblem

FOLDER = "ILSVRC2012_devkit_t12"
META = "data/meta.mat"
TRUTH = "data/ILSVRC2012_validation_ground_truth.txt"


def validation_wnids(roots: Roots, folder: str, archive: str, md5: str) -> tuple[str, ...]:
    """The WordNet id of validation image 1, 2, ..., from `folder`/`archive` or as unpacked there.

    Raises DataError where the kit is missing, has another MD5 or another content.
    """
    unpacked = f"{folder}/{FOLDER}"
    if root := roots.find(f"{folder}/{archive}"):
        path = root / folder / archive
        found = md5_file(path)
        if found != md5:
            raise DataError(f"{path}: MD5 {found}, the publishers' is {md5}; get it again")
        meta, truth = _from_archive(path)
    elif root := roots.find(f"{unpacked}/{META}"):
        path = root / unpacked
        meta, truth = ((path / name).read_bytes() for name in (META, TRUTH))
    else:
        raise DataError(
            f"{folder}/{archive} is not in {roots.described}, and without it the validation "
            f"images have no labels; put it there (or, unpacked, {unpacked}/)"
        )
    try:
        wnids = _wnids_by_number(meta)
        return tuple(wnids[int(number)] for number in truth.split())
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise DataError(f"{path}: not the kit's {META} and {TRUTH} ({error!r})") from None


def _from_archive(path: Path) -> tuple[bytes, bytes]:
    with tarfile.open(path) as tar:
        files = [tar.extractfile(f"{FOLDER}/{name}") for name in (META, TRUTH)]
        meta, truth = (file.read() if file else b"" for file in files)
        return meta, truth


def _wnids_by_number(meta: bytes) -> dict[int, str]:
    """WordNet ids by ILSVRC2012_ID, of the leaves: the synsets that have no children."""
    try:
        from scipy.io import loadmat
    except ImportError as error:
        raise EnvironmentProblem(f"the ImageNet devkit needs scipy ({error}); install it") from None

    synsets: Any = loadmat(io.BytesIO(meta), squeeze_me=True)["synsets"]
    return {
        int(synset["ILSVRC2012_ID"]): str(synset["WNID"])
        for synset in synsets
        if int(synset["num_children"]) == 0
    }
