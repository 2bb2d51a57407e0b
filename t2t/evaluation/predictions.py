"""What a network answers for each image, kept so that a later metric needs no network."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from t2t.errors import DataError
from t2t.files import SEAL, commit, partial_path

TOP = 5
NO_CLASS = -1
_TOP_COLUMNS = tuple(f"top{rank}" for rank in range(1, TOP + 1))


@dataclass(frozen=True, eq=False)
class Predictions:
    """Row i is image i of a validation shard: its label, `labels` (N,); the likeliest classes,
    `top` (N, 5), the first one first, NO_CLASS where there are fewer classes; and the softmax of
    the first one, `confidence` (N,) float32. Classes are int32."""

    labels: NDArray[np.int32]
    top: NDArray[np.int32]
    confidence: NDArray[np.float32]

    @property
    def correct(self) -> NDArray[np.bool_]:
        """Whether the likeliest class is the label, (N,)."""
        return self.top[:, 0] == self.labels


def write_predictions(predictions: Predictions, path: Path) -> None:
    """Writes a parquet file with a line for each image: `image` (its position in the validation
    shard), `label`, `top1` to `top5` (int32), `confidence` (float32). A seal covers them all
    and the names of the file and its folder, since readers of parquet do not notice a flipped bit
    or another row's file. Equal predictions give equal bytes in a file of the same name."""
    import pyarrow
    import pyarrow.parquet

    columns: dict[str, Any] = {
        "image": np.arange(len(predictions.labels), dtype=np.int32),
        "label": predictions.labels,
        **dict(zip(_TOP_COLUMNS, predictions.top.T, strict=True)),
        "confidence": predictions.confidence,
    }
    partial = partial_path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        table = pyarrow.table(columns, metadata={SEAL: _sha256_of(columns, path)})
        pyarrow.parquet.write_table(table, partial, compression="zstd")
        commit(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def read_predictions(path: Path) -> Predictions:
    """What `write_predictions` wrote. Raises DataError for a file that is none of its, or was
    changed."""
    import pyarrow
    import pyarrow.parquet

    try:
        table = pyarrow.parquet.read_table(path)
        seal = (table.schema.metadata or {}).get(SEAL.encode(), b"").decode()
        columns = {name: table.column(name).to_numpy() for name in table.column_names}
        images, labels = columns["image"], columns["label"]
        top = np.stack([columns[name] for name in _TOP_COLUMNS], axis=1)
        confidence = columns["confidence"]
    except (OSError, KeyError, ValueError, pyarrow.ArrowException) as error:
        said = " ".join(str(error).split())
        raise DataError(
            f"{path}: no table of predictions ({said}); evaluate the row again"
        ) from None
    if not np.array_equal(images, np.arange(len(images))):
        raise DataError(f"{path}: image: is not 0, 1, 2, ...; evaluate the row again")
    if seal != _sha256_of(columns, path):
        raise DataError(f"{path}: changed since it was written, or moved; evaluate the row again")
    return Predictions(labels, top, confidence)


def _sha256_of(columns: Mapping[str, NDArray[Any]], path: Path) -> str:
    digest = hashlib.sha256(f"{path.parent.name}/{path.name} ".encode())
    for name, values in columns.items():
        digest.update(f"{name} {values.dtype} {len(values)} ".encode())
        digest.update(values.tobytes())
    return digest.hexdigest()


def read_row(folder: Path) -> dict[int, Predictions]:
    """The predictions of a row by seed, from its `seed_<k>.parquet`; empty without a folder."""
    return {
        int(path.stem.removeprefix("seed_")): read_predictions(path)
        for path in sorted(folder.glob("seed_*.parquet"))
    }
