"""A share of a training set that is the same for every run: of each class, and nested."""

import numpy as np
from numpy.typing import NDArray

from t2t.data.draws import Stream, keys


def nested_subset(labels: NDArray[np.int64], fraction: float) -> NDArray[np.int64]:
    """The samples, ascending, that make up `fraction` (0..1] of each class of `labels` (n,).

    Each class keeps the samples whose index has the smallest hash, one at least, so that a smaller
    fraction is part of every larger one. No seed has a say in it.
    """
    hashes = keys(Stream.SUBSET, 0, 0, np.arange(len(labels)))
    by_class = np.lexsort((hashes, labels))
    classes, starts, counts = np.unique(labels[by_class], return_index=True, return_counts=True)
    places = np.arange(len(labels)) - np.repeat(starts, counts)
    kept = np.maximum(1, np.rint(fraction * counts)).astype(np.int64)
    return np.sort(by_class[places < np.repeat(kept, counts)])
