"""ImageNet-V2 (Recht et al. 2019), matched frequency: 10,000 new photographs of the same classes.

They lie in a folder for each class, named by its number, which is its position in the sorted
WordNet ids. The folders' own order is another one: "10" comes before "2".
"""

import numpy as np

from t2t.data.sources.class_folders import hashed, list_class_folders
from t2t.data.sources.fetch import Remote, obtain_folder
from t2t.data.sources.indexed import FileSplit, Place
from t2t.data.sources.roots import Roots
from t2t.data.sources.source import Source
from t2t.errors import DataError

FOLDER = "imagenetv2-matched-frequency-format-val"
ARCHIVE = "imagenetv2-matched-frequency.tar.gz"
IMAGES_OF_A_CLASS = 10
REMOTE = Remote(
    f"https://huggingface.co/datasets/vaishaal/ImageNetV2/resolve/main/{ARCHIVE}",
    sha256="f0c37fdf925916b19ea1323cd9a2208cdb6959ba2c32eef2a7fc393835c9ca7c",
)


def load_v2(
    roots: Roots, *, classes: tuple[str, ...], download: bool, remote: Remote = REMOTE
) -> Source:
    """The set as a split `val` of these `classes`, in label order; images by class and name.

    Raises DataError where it is missing, saying what to put where, or not whole;
    EnvironmentProblem where a download fails.
    """
    root = obtain_folder(roots, FOLDER, ARCHIVE, remote, download=download)
    place = root / FOLDER
    listing = list_class_folders(root, FOLDER)
    if set(listing.classes) != {str(number) for number in range(len(classes))}:
        raise DataError(
            f"{place}: its folders are not 0 to {len(classes) - 1}, one for each class; remove it "
            f"and unpack {ARCHIVE} again"
        )
    labels = np.array([int(name) for name in listing.classes])[listing.labels]
    counts = np.bincount(labels, minlength=len(classes))
    if (counts != IMAGES_OF_A_CLASS).any():
        label = int((counts != IMAGES_OF_A_CLASS).argmax())
        raise DataError(
            f"{place}/{label}: {counts[label]} images, {IMAGES_OF_A_CLASS} officially; remove "
            f"{place} and unpack {ARCHIVE} again"
        )
    split = FileSplit(root, Place(FOLDER), labels, listing.sizes, listing.names)
    by_label = split.taken(np.argsort(labels, kind="stable"))
    return Source("imagenet_v2", classes, hashed({"val": by_label}))
