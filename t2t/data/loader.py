"""Batches from a shard, the same whatever reads them.

The order of an epoch and the pixels of each sample are pure functions of (seed, epoch, sample
index): they depend neither on the engine nor on the number of workers, nor on the batch at which
an epoch is entered, nor on the rows that are asked for.
"""

import importlib.util
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from t2t.data.beton import BetonFile
from t2t.data.crops import CropPolicy, ShiftPolicy
from t2t.data.draws import permutation
from t2t.data.randaugment import Fill, RandAugmentPolicy, fill_colour
from t2t.data.render import Renderer
from t2t.data.subset import nested_subset
from t2t.data.thread_engine import ThreadEngine
from t2t.data.verify import verify_shard
from t2t.errors import ConfigError

Engine = Literal["auto", "ffcv", "torch"]
Ints = NDArray[np.int64]


class Batch(NamedTuple):
    """`images` (B, 3, H, W) uint8, contiguous; `labels`, sample `indices` in the shard and
    `positions` in the whole batch (B,) int64; CPU."""

    images: Tensor
    labels: Tensor
    indices: Tensor
    positions: Tensor


class ShardLoader:
    """Reads a shard in batches.

    Images are rendered to `image_size` x `image_size` pixels (None: what the shard's manifest
    says), cropped or shifted, flipped and, where `augment` says so, augmented; `fill` is the colour
    that RandAugment puts where it has moved an image away (None: the shard's mean). Without a crop
    policy the shard must hold raw images of that size.

    Engine "ffcv" reads through FFCV's loader, "torch" through the project's own threads, which
    need no FFCV; "auto" is "ffcv" where that is installed. Without shuffle the order is the
    shard's; without `drop_last` every sample comes exactly once, in a last batch that may be
    smaller. A `fraction` below 1 reads that share of each class, the same samples for every seed.

    Raises DataError for a shard that its manifest does not match (see `verify_shard`), ConfigError
    for arguments out of range, EnvironmentProblem when `engine` is "ffcv" and FFCV cannot be
    imported.
    """

    def __init__(
        self,
        path: Path,
        *,
        batch_size: int,
        seed: int,
        shuffle: bool,
        crop: CropPolicy | ShiftPolicy | None,
        flip_prob: float,
        drop_last: bool,
        image_size: int | None = None,
        fraction: float = 1.0,
        augment: RandAugmentPolicy | None = None,
        fill: Fill | None = None,
        engine: Engine = "auto",
        workers: int = 2,
        stall_timeout_s: float = 25.0,
    ) -> None:
        _check_arguments(batch_size, seed, flip_prob, fraction, engine, workers)
        self.manifest = verify_shard(path)
        self.path, self.batch_size, self.seed = path, batch_size, seed
        self.shuffle, self.drop_last = shuffle, drop_last
        self.image_size = image_size or self.manifest.image_size
        if crop is None and (self.manifest.write_mode, self.image_size) != (
            "raw",
            self.manifest.image_size,
        ):
            raise ConfigError(
                f"{path}: images of other sizes than {self.image_size} px need a crop policy"
            )
        beton = BetonFile(path)
        self._members = np.zeros(beton.num_samples, bool)
        self._members[nested_subset(beton.labels, fraction)] = True
        self.num_samples = int(self._members.sum())
        fill = fill or fill_colour(self.manifest.channel_mean)
        renderer = Renderer(self.image_size, seed, crop, flip_prob, augment, fill)
        if engine == "auto":
            engine = "ffcv" if importlib.util.find_spec("ffcv") else "torch"
        self.engine: Engine = engine
        if engine == "ffcv":
            from t2t.data.ffcv_import import import_ffcv

            import_ffcv()
            from t2t.data.ffcv_engine import FFCVEngine

            self._engine = FFCVEngine(beton, renderer, batch_size, workers, stall_timeout_s)
        else:
            self._engine = ThreadEngine(beton, renderer, workers, stall_timeout_s)

    @property
    def num_batches(self) -> int:
        """Batches in an epoch."""
        whole, rest = divmod(self.num_samples, self.batch_size)
        return whole + (rest > 0 and not self.drop_last)

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in label order."""
        return self.manifest.classes

    def epoch(
        self, epoch: int, start_batch: int = 0, part: ArrayLike | None = None
    ) -> Iterator[Batch]:
        """The batches of an epoch from `start_batch` on.

        part: positions in a batch, (P,) int64: only these rows of each batch come, in that order;
        a last, smaller batch gives those it has, which may be none.

        Raises ConfigError for an epoch, batch or position out of range, DataError when reading
        fails.
        """
        if epoch < 0 or not 0 <= start_batch <= self.num_batches:
            raise ConfigError(
                f"epoch {epoch}, start_batch {start_batch}: expected an epoch of 0 or more and a "
                f"batch in 0..{self.num_batches}"
            )
        rows = np.arange(self.batch_size) if part is None else np.asarray(part, np.int64)
        if rows.ndim != 1 or len(rows) == 0 or rows.min() < 0 or rows.max() >= self.batch_size:
            raise ConfigError(f"part must be positions in 0..{self.batch_size - 1}, not {part}")
        return self._epoch(epoch, self._chunks(epoch)[start_batch:], rows)

    def _epoch(self, epoch: int, chunks: list[Ints], rows: Ints) -> Iterator[Batch]:
        positions = [rows[rows < len(chunk)] for chunk in chunks]
        parts = [chunk[places] for chunk, places in zip(chunks, positions, strict=True)]
        with closing(self._engine.batches(epoch, parts)) as batches:
            for frames, part, places in zip(batches, parts, positions, strict=True):
                arrays = (*frames, part, places.copy())
                yield Batch(*(torch.from_numpy(array) for array in arrays))

    def _chunks(self, epoch: int) -> list[Ints]:
        size = len(self._members)
        order = permutation(self.seed, epoch, size) if self.shuffle else np.arange(size)
        order = order[self._members[order]]
        starts = range(0, self.num_batches * self.batch_size, self.batch_size)
        return [order[start : start + self.batch_size] for start in starts]


def _check_arguments(
    batch_size: int, seed: int, flip_prob: float, fraction: float, engine: str, workers: int
) -> None:
    if batch_size < 1 or workers < 1 or seed < 0:
        raise ConfigError(
            f"batch_size {batch_size}, workers {workers}, seed {seed}: expected at least 1, 1, 0"
        )
    if not 0 <= flip_prob <= 1:
        raise ConfigError(f"flip_prob must lie between 0 and 1, not {flip_prob}")
    if not 0 < fraction <= 1:
        raise ConfigError(f"fraction must lie in (0, 1], not {fraction}")
    if engine not in ("auto", "ffcv", "torch"):
        raise ConfigError(f"engine must be auto, ffcv or torch, not {engine!r}")
