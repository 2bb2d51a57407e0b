"""Imagenette v2: ten easy classes of ImageNet, from github.com/fastai/imagenette."""

from collections.abc import Mapping
from pathlib import PurePosixPath

from t2t.data.sources.class_folders import (
    check_same_classes,
    counted,
    hashed,
    list_class_folders,
)
from t2t.data.sources.fetch import Remote, obtain_folder
from t2t.data.sources.roots import Roots
from t2t.data.sources.source import SPLITS, Source
from t2t.errors import ConfigError, DataError, EnvironmentProblem

IMAGES = {"train": 9469, "val": 3925}


def load(
    roots: Roots, *, size: str, download: bool = False, remote: Remote | None = None
) -> Source:
    """The set with a short side of `size`: 160px, 320px or full; classes are WordNet ids.

    From imagenette2-160/ or its archive imagenette2-160.tgz (-320 accordingly; imagenette2 for
    full). `remote` is another archive of the same images.

    Raises ConfigError for an unknown size, DataError where the set is missing, saying where to get
    it, or is not whole; EnvironmentProblem where a download fails.
    """
    archives, wnids = _official()
    if size not in archives:
        raise ConfigError(f"imagenette: no size {size!r}; there are {', '.join(archives)}")
    remote = remote or archives[size]
    archive = PurePosixPath(remote.url).name
    folder = archive.removesuffix(".tgz")
    root = obtain_folder(roots, folder, archive, remote, download=download)
    listings = {split: list_class_folders(root, folder, split) for split in SPLITS}
    for split, listing in listings.items():
        place = root / folder / split
        check_same_classes(wnids, listing.classes, str(place))
        if len(listing.names) != IMAGES[split]:
            raise DataError(
                f"{place}: {len(listing.names):,} images, {IMAGES[split]:,} officially; "
                f"remove {root / folder} and unpack {archive} again"
            )
    ignored = listings["train"].ignored + listings["val"].ignored
    splits = hashed({split: listing.split() for split, listing in listings.items()})
    return Source("imagenette", wnids, splits, {"size": size, "ignored_files": counted(ignored)})


def _official() -> tuple[Mapping[str, Remote], tuple[str, ...]]:
    """Archives by size, and the classes, as torchvision has them."""
    try:
        from torchvision.datasets import Imagenette
    except ImportError as error:
        raise EnvironmentProblem(f"imagenette needs torchvision ({error}); install it") from None
    archives = {size: Remote(url, md5) for size, (url, md5) in Imagenette._ARCHIVES.items()}
    return archives, tuple(sorted(Imagenette._WNID_TO_CLASS))
