"""Setting images aside where a data set has no split of its own, or too many images."""

import numpy as np
from numpy.typing import NDArray

from t2t.errors import ConfigError, DataError, EnvironmentProblem

Rows = NDArray[np.int64]


def stratified(
    labels: NDArray[np.int64], *, val_fraction: float, split_seed: int
) -> tuple[Rows, Rows]:
    """The row numbers of train and val, each ascending: the same share of every class.

    Equal arguments give equal rows. Raises ConfigError for a fraction outside (0, 1), DataError
    where a class has too few images to be split, EnvironmentProblem without scikit-learn.
    """
    try:
        from sklearn.model_selection import train_test_split
    except ImportError as error:
        raise EnvironmentProblem(
            f"splitting by class needs scikit-learn ({error}); install it"
        ) from None
    if not 0 < val_fraction < 1:
        raise ConfigError(f"val_fraction must lie between 0 and 1, not {val_fraction}")
    try:
        train, val = train_test_split(
            np.arange(len(labels)), test_size=val_fraction, random_state=split_seed, stratify=labels
        )
    except ValueError as error:
        raise DataError(
            f"val_fraction {val_fraction} of {len(labels)} images: {error}; "
            "each class needs an image on either side"
        ) from None
    return np.sort(train), np.sort(val)


def few_of_each(labels: NDArray[np.int64], count: int, seed: int) -> Rows:
    """Row numbers, ascending, of `count` rows of each class of `labels` (n,), drawn by `seed`.

    Raises DataError where a class has fewer.
    """
    order = np.random.default_rng(seed).permutation(len(labels))
    drawn = [order[labels[order] == label][:count] for label in np.unique(labels)]
    fewest = min(map(len, drawn))
    if fewest < count:
        raise DataError(f"{count} images of each class are wanted, and a class has {fewest}")
    return np.sort(np.concatenate(drawn))
