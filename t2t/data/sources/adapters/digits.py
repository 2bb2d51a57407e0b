"""The 1,797 scans of handwritten digits that come with scikit-learn."""

from typing import Any

import numpy as np

from t2t.data.sources.arrays import ArraySplit
from t2t.data.sources.roots import Roots
from t2t.data.sources.source import SPLITS, Source
from t2t.data.sources.stratify import few_of_each, stratified
from t2t.errors import EnvironmentProblem


def load(
    roots: Roots,
    *,
    split_seed: int,
    val_fraction: float,
    quarter_turns: int = 0,
    train_per_class: int | None = None,
) -> Source:
    """The scans, 8x8 grey, 0..16 scaled to 0..255; nothing is read from `roots`.

    The split is stratified by class; each part keeps the order of the set. Of the training part
    `train_per_class` images of each class are kept, None for all, and all images are turned
    `quarter_turns` times to the left: two sets of one `split_seed` and `val_fraction` have the same
    scans for validation, however they lie.

    Raises EnvironmentProblem where scikit-learn is not installed, ConfigError and DataError for a
    split that cannot be.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise EnvironmentProblem(f"digits needs scikit-learn ({error}); install it") from None

    bunch: Any = load_digits()
    images = np.round(bunch.images * (255 / 16)).astype(np.uint8)
    labels = bunch.target.astype(np.int64)
    images = np.ascontiguousarray(np.rot90(images, quarter_turns, axes=(1, 2)))
    train, val = stratified(labels, val_fraction=val_fraction, split_seed=split_seed)
    if train_per_class is not None:
        train = train[few_of_each(labels[train], train_per_class, split_seed)]
    splits = {
        name: ArraySplit(images[rows], labels[rows])
        for name, rows in zip(SPLITS, (train, val), strict=True)
    }
    classes = tuple(str(name) for name in bunch.target_names)
    facts = {"split_seed": split_seed, "val_fraction": val_fraction}
    changes = {"quarter_turns": quarter_turns, "train_per_class": train_per_class}
    facts |= {key: value for key, value in changes.items() if value}
    return Source("digits", classes, splits, facts)
