"""Setting images aside for validation where a data set has no split of its own."""

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
