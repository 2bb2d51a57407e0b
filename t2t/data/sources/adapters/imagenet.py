"""ImageNet-1k (ILSVRC 2012), from the official archives or as unpacked from them.

Everything lies in `imagenet/` below a root, each split in one of these forms, the first that is
there being taken:

    ILSVRC2012_img_train.tar       ILSVRC2012_img_val.tar
    train/<wnid>/*.JPEG            val/<wnid>/*.JPEG or val/ILSVRC2012_val_*.JPEG

The archives are uncompressed tars and stay what they are: images are read out of them by their
offset. Where the validation images lie without class folders, the labels are those of
ILSVRC2012_devkit_t12.tar.gz. Labels are positions in the sorted WordNet ids; training images are
sorted by class and name, validation images by name, which is by number, whichever form they have.
"""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from t2t.data.sources.class_folders import (
    Listing,
    check_names,
    check_same_classes,
    counted,
    hashed,
    list_class_folders,
)
from t2t.data.sources.devkit import validation_wnids
from t2t.data.sources.indexed import FileSplit, Place
from t2t.data.sources.roots import Roots
from t2t.data.sources.source import Source
from t2t.data.sources.tar_members import Member, read_tar
from t2t.errors import DataError, EnvironmentProblem

FOLDER = "imagenet"
VAL_NAME = re.compile(r"ILSVRC2012_val_(\d{8})\.JPEG")


@dataclass(frozen=True)
class Release:
    """What is official: `archives` of train, val and devkit as (name, MD5), images in a split."""

    archives: Mapping[str, tuple[str, str]]
    images: Mapping[str, int]
    classes: int


def ilsvrc2012() -> Release:
    """The release of 2012, its checksums as torchvision has them."""
    try:
        from torchvision.datasets.imagenet import ARCHIVE_META
    except ImportError as error:
        raise EnvironmentProblem(f"imagenet needs torchvision ({error}); install it") from None
    return Release(ARCHIVE_META, {"train": 1_281_167, "val": 50_000}, 1000)


def load(roots: Roots, *, release: Release | None = None) -> Source:
    """Both splits, in whichever form they are there.

    The fingerprint covers names, labels, lengths and offsets, and the MD5 of each archive. As
    unpacked, the set is larger than what is hashed file by file (`class_folders.HASHED_BYTES`).

    Raises DataError where a part is missing, saying what to put where, and for another number of
    classes or images than there are officially.
    """
    release = release or ilsvrc2012()
    ignored: Counter[str] = Counter()
    classes, train = _train(roots, release, ignored)
    val = _val(roots, release, classes, ignored)
    splits = hashed({"train": train, "val": val})
    _check_numbers(classes, splits, release)
    return Source("imagenet", classes, splits, {"ignored_files": counted(ignored)})


def _train(
    roots: Roots, release: Release, ignored: Counter[str]
) -> tuple[tuple[str, ...], FileSplit]:
    name, md5 = release.archives["train"]
    if root := roots.find(f"{FOLDER}/{name}"):
        members, place = _tar(root, name, md5, ignored, tars_inside=True)
        members.sort(key=lambda member: member.name)
        wnids = [member.name.partition("/")[0] for member in members]
        classes = tuple(sorted(set(wnids)))
        return classes, _in_tar(root, place, members, _labels(wnids, classes, root / place.path))
    if root := roots.find(f"{FOLDER}/train"):
        listing = list_class_folders(root, FOLDER, "train")
        ignored.update(listing.ignored)
        return listing.classes, listing.split()
    raise _missing(roots, name, "train/<wnid>/")


def _val(
    roots: Roots, release: Release, classes: tuple[str, ...], ignored: Counter[str]
) -> FileSplit:
    name, md5 = release.archives["val"]
    if root := roots.find(f"{FOLDER}/{name}"):
        members, place = _tar(root, name, md5, ignored)
        members.sort(key=lambda member: PurePosixPath(member.name).name)
        wnids = _wnids_of([member.name for member in members], roots, release)
        return _in_tar(root, place, members, _labels(wnids, classes, root / place.path))
    root = roots.find(f"{FOLDER}/val")
    if root is None:
        raise _missing(roots, name, "val/<wnid>/ or val/*.JPEG")
    if any(VAL_NAME.fullmatch(path.name) for path in (root / FOLDER / "val").iterdir()):
        return _flat_val(root, roots, release, classes, ignored)
    listing = list_class_folders(root, FOLDER, "val")
    ignored.update(listing.ignored)
    check_same_classes(classes, listing.classes, str(root / FOLDER))
    return listing.split().taken(_by_file_name(listing))


def _flat_val(
    root: Path,
    roots: Roots,
    release: Release,
    classes: tuple[str, ...],
    ignored: Counter[str],
) -> FileSplit:
    folder = root / FOLDER / "val"
    present = sorted(path.name for path in folder.iterdir())
    names = [name for name in present if name.endswith(".JPEG")]
    if others := len(present) - len(names):
        ignored["not .JPEG"] += others
    labels = _labels(_wnids_of(names, roots, release), classes, folder)
    sizes = np.array([(folder / name).stat().st_size for name in names], np.int64)
    return FileSplit(root, Place(FOLDER), labels, sizes, tuple(f"val/{name}" for name in names))


def _tar(
    root: Path, name: str, md5: str, ignored: Counter[str], *, tars_inside: bool = False
) -> tuple[list[Member], Place]:
    contents = read_tar(root / FOLDER / name, md5=md5, tars_inside=tars_inside)
    images = [member for member in contents.members if member.name.endswith(".JPEG")]
    if others := len(contents.members) - len(images):
        ignored["not .JPEG"] += others
    check_names(str(root / FOLDER / name), [member.name for member in images])
    return images, Place(f"{FOLDER}/{name}", contents.size, contents.md5)


def _in_tar(
    root: Path, place: Place, members: list[Member], labels: NDArray[np.int64]
) -> FileSplit:
    return FileSplit(
        root,
        place,
        labels,
        np.array([member.size for member in members], np.int64),
        tuple(member.name for member in members),
        offsets=np.array([member.offset for member in members], np.int64),
    )


def _wnids_of(names: list[str], roots: Roots, release: Release) -> list[str]:
    """The class of each validation image, by the number in its name."""
    truth = validation_wnids(roots, FOLDER, *release.archives["devkit"])
    wnids = []
    for name in names:
        match = VAL_NAME.fullmatch(PurePosixPath(name).name)
        number = int(match[1]) if match else 0
        if not 1 <= number <= len(truth):
            raise DataError(f"{name}: not one of the {len(truth):,} validation images")
        wnids.append(truth[number - 1])
    return wnids


def _labels(wnids: list[str], classes: tuple[str, ...], place: Path) -> NDArray[np.int64]:
    check_same_classes(classes, tuple(set(wnids)), str(place))
    position = {wnid: label for label, wnid in enumerate(classes)}
    return np.array([position[wnid] for wnid in wnids], np.int64)


def _by_file_name(listing: Listing) -> NDArray[np.int64]:
    return np.argsort([PurePosixPath(name).name for name in listing.names], kind="stable")


def _check_numbers(
    classes: tuple[str, ...], splits: Mapping[str, FileSplit], release: Release
) -> None:
    found = {"classes": len(classes)} | {name: len(split) for name, split in splits.items()}
    wanted = {"classes": release.classes} | dict(release.images)
    for name, count in wanted.items():
        if found[name] != count:
            what = name if name == "classes" else f"{name} images"
            raise DataError(
                f"imagenet: {found[name]:,} {what}, {count:,} officially; unpack the set again"
            )


def _missing(roots: Roots, archive: str, unpacked: str) -> DataError:
    return DataError(
        f"{FOLDER}/{archive} (or, unpacked, {FOLDER}/{unpacked}) is not in {roots.described}; "
        "get it from image-net.org, where one has to register, and put it there"
    )
