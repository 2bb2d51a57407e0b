"""CIFAR-10 and CIFAR-100, read by torchvision, which compares the MD5 of each file."""

from typing import Any

import numpy as np

from t2t.data.sources.arrays import ArraySplit
from t2t.data.sources.fetch import Remote, obtain_folder
from t2t.data.sources.roots import Roots
from t2t.data.sources.source import Source
from t2t.errors import DataError, EnvironmentProblem


def load_cifar(roots: Roots, *, name: str, download: bool, remote: Remote | None = None) -> Source:
    """The set `name`, cifar10 or cifar100, as arrays (n, 32, 32, 3); val is the official test set.

    Raises DataError where it is missing, saying where to get it, or damaged; EnvironmentProblem
    where torchvision is not installed or a download fails.
    """
    try:
        from torchvision import datasets
    except ImportError as error:
        raise EnvironmentProblem(f"{name} needs torchvision ({error}); install it") from None

    cifar: Any = {"cifar10": datasets.CIFAR10, "cifar100": datasets.CIFAR100}[name]
    remote = remote or Remote(cifar.url, cifar.tgz_md5)
    root = obtain_folder(roots, cifar.base_folder, cifar.filename, remote, download=download)
    splits, classes = {}, ()
    for split, train in (("train", True), ("val", False)):
        try:
            part = cifar(str(root), train=train, download=False)
        except RuntimeError as error:
            raise DataError(
                f"{root / cifar.base_folder}: {error}; remove this folder and unpack "
                f"{cifar.filename} again"
            ) from None
        splits[split] = ArraySplit(part.data, np.array(part.targets, np.int64))
        classes = tuple(part.classes)
    return Source(name, classes, splits)
