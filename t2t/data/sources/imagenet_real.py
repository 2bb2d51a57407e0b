"""ImageNet-ReaL (Beyer et al., "Are we done with ImageNet?", 2020): more labels of the same images.

Each of ImageNet's 50,000 validation images has the classes that people found on it, several or
none. They stand in the order of the images' numbers, which is our validation split's order too
(`adapters.imagenet`), as positions in the sorted WordNet ids, as our labels are.
"""

import json

from t2t.data.sources.fetch import Remote, obtain_file
from t2t.data.sources.roots import Roots
from t2t.errors import DataError

FILE = "imagenet/real.json"
REMOTE = Remote(
    "https://raw.githubusercontent.com/google-research/reassessed-imagenet/master/real.json",
    sha256="d83e9bff374c631aae8439eb064c7019acc56e1b3bc3f56b8380c2a710b0220b",
)


def load_real(
    roots: Roots, *, images: int, classes: int, download: bool, remote: Remote = REMOTE
) -> list[list[int]]:
    """The labels of validation image 1, 2, ... `images`, each a list of any length.

    Raises DataError where the file is missing, saying what to put where, or holds something else;
    EnvironmentProblem where a download fails.
    """
    path = obtain_file(roots, FILE, remote, download=download) / FILE
    try:
        labels = json.loads(path.read_text())
    except ValueError as error:
        raise DataError(f"{path}: no JSON ({error}); get it again") from None
    if not isinstance(labels, list) or len(labels) != images:
        raise DataError(f"{path}: not a list of {images:,} entries, one for each validation image")
    for number, entry in enumerate(labels, 1):
        known = isinstance(entry, list) and all(
            type(label) is int and 0 <= label < classes for label in entry
        )
        if not known:
            raise DataError(
                f"{path}: image {number}: {entry!r:.60} is no list of classes 0..{classes - 1}"
            )
    return labels
