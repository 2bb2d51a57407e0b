"""Any set of images in class folders: {train,val}/<class>/, as a folder or an archive of it.

A set without val/ is split by class. It may be train/<class>/ alone or bare <class>/ folders.
"""

from pathlib import Path, PurePosixPath
from typing import Any

from t2t.data.sources.class_folders import (
    Listing,
    check_same_classes,
    counted,
    hashed,
    list_class_folders,
)
from t2t.data.sources.roots import Roots
from t2t.data.sources.source import SPLITS, Source
from t2t.data.sources.stratify import stratified
from t2t.data.sources.unpack import ARCHIVE_SUFFIXES, unpack
from t2t.errors import ConfigError, DataError
from t2t.files import sha256_file

DIGEST_CHARACTERS = 12


def load(
    roots: Roots, *, path: str, val_fraction: float | None = None, split_seed: int = 0
) -> Source:
    """The set at `path` below a root; its classes are the folders' names, sorted.

    `val_fraction` is for a set without val/, and only for that. An archive is unpacked into the
    downloads, under its name and the beginning of its SHA-256.

    Raises ConfigError for a path that is not relative, and for a fraction that is missing or one
    too many; DataError where nothing is there, and for folders that are no such set.
    """
    root, folder = _found(roots, path)
    name = _without_suffix(PurePosixPath(path).name)
    facts = {"path": path} | _archive_facts(roots, path)
    below = parts(root / folder, path)
    if below == SPLITS:
        if val_fraction is not None:
            raise ConfigError(f"{root / folder} has a val/ of its own; leave out val_fraction")
        return _as_it_is(name, root, folder, facts)
    if val_fraction is None:
        raise ConfigError(
            f"{root / folder} has no val/; add one, or give val_fraction (and split_seed) to set "
            "images of each class aside"
        )
    facts |= {"val_fraction": val_fraction, "split_seed": split_seed}
    return _set_aside(name, list_class_folders(root, folder, *below), facts)


def parts(place: Path, path: str) -> tuple[str, ...]:
    """Where in `place` the class folders lie: train and val, or what is to be split, "" for itself.

    Raises DataError for a folder that is no such set; `path` is what the user calls it.
    """
    if all((place / split).is_dir() for split in SPLITS):
        return SPLITS
    return (_pool(place, path),)


def _as_it_is(name: str, root: Path, folder: str, facts: dict[str, Any]) -> Source:
    train, val = (list_class_folders(root, folder, split) for split in SPLITS)
    check_same_classes(train.classes, val.classes, str(root / folder))
    ignored = {"ignored_files": counted(train.ignored + val.ignored)}
    splits = hashed({"train": train.split(), "val": val.split()})
    return Source(name, train.classes, splits, facts | ignored)


def _set_aside(name: str, pool: Listing, facts: dict[str, Any]) -> Source:
    rows = stratified(
        pool.labels, val_fraction=facts["val_fraction"], split_seed=facts["split_seed"]
    )
    whole, ignored = pool.split(), {"ignored_files": counted(pool.ignored)}
    splits = {split: whole.taken(part) for split, part in zip(SPLITS, rows, strict=True)}
    return Source(name, pool.classes, hashed(splits), facts | ignored)


def _found(roots: Roots, path: str) -> tuple[Path, str]:
    """The root that holds the set, and its folder below it; unpacks an archive."""
    pure = PurePosixPath(path)
    if pure.is_absolute() or ".." in pure.parts or not pure.name:
        raise ConfigError(f"path {path!r} must be relative, below {roots.described}")
    root = roots.find(path)
    if root is None:
        raise DataError(f"{path} is not in {roots.described}; put the folder or archive there")
    if (root / path).is_dir():
        return root, str(pure)
    if not path.endswith(ARCHIVE_SUFFIXES):
        raise DataError(f"{root / path}: neither a folder nor one of {', '.join(ARCHIVE_SUFFIXES)}")
    digest = sha256_file(root / path)[:DIGEST_CHARACTERS]
    folder = f"{_without_suffix(pure.name)}-{digest}"
    unpacked = roots.find(folder)
    if unpacked is None:
        unpacked = roots.writable()
        unpack(root / path, unpacked / folder)
    return unpacked, folder


def _archive_facts(roots: Roots, path: str) -> dict[str, Any]:
    """An archive's length, by which another one in its place may be told without reading it."""
    root = roots.find(path)
    if root is None or not (root / path).is_file():
        return {}
    return {"archive_bytes": (root / path).stat().st_size}


def _without_suffix(name: str) -> str:
    return next((name.removesuffix(s) for s in ARCHIVE_SUFFIXES if name.endswith(s)), name)


def _pool(place: Path, path: str) -> str:
    """The folder below `place` whose class folders are to be split: "train", or "" for itself."""
    if (place / "val").is_dir():
        raise DataError(f"{place}: has val/ and no train/")
    inner = [child.name for child in sorted(place.iterdir()) if (child / "train").is_dir()]
    if inner:
        raise DataError(f"{place}: one level too high? path: {path}/{inner[0]} has a train/")
    return "train" if (place / "train").is_dir() else ""
