"""The 1,797 scans of handwritten digits that come with scikit-learn."""

from typing import Any

import numpy as np

from t2t.data.sources.arrays import ArraySplit
from t2t.data.sources.roots import Roots
from t2t.data.sources.source import SPLITS, Source
from t2t.data.sources.stratify import stratified
from t2t.errors import EnvironmentProblem


def load(roots: Roots, *, split_seed: int, val_fraction: float) -> Source:
    """The scans, 8x8 grey, 0..16 scaled to 0..255; nothing is read from `roots`.

    The split is stratified by class; each part keeps the order of the set. Raises
    EnvironmentProblem where scikit-learn is not installed, ConfigError and DataError for a
    fraction that cannot be.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise EnvironmentProblem(f"digits needs scikit-learn ({error}); install it") from None

    bunch: Any = load_digits()
    images = np.round(bunch.images * (255 / 16)).astype(np.uint8)
    labels = bunch.target.astype(np.int64)
    parts = stratified(labels, val_fraction=val_fraction, split_seed=split_seed)
    splits = {
        name: ArraySplit(images[rows], labels[rows])
        for name, rows in zip(SPLITS, parts, strict=True)
    }
    classes = tuple(str(name) for name in bunch.target_names)
    facts = {"split_seed": split_seed, "val_fraction": val_fraction}
    return Source("digits", classes, splits, facts)
