"""Batches from a shard, the same whatever reads them.

The order of an epoch and the pixels of each sample are pure functions of (seed, epoch, sample
index): they depend neither on the engine nor on the number of workers, nor on the batch at which
an epoch is entered.
"""

import importlib.util
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from t2t.data.beton import BetonFile
from t2t.data.crops import CropPolicy, Renderer
from t2t.data.draws import permutation
from t2t.data.thread_engine import ThreadEngine
from t2t.data.verify import verify_shard
from t2t.errors import ConfigError

Engine = Literal["auto", "ffcv", "torch"]


class Batch(NamedTuple):
    """`images` (B, 3, H, W) uint8, contiguous; `labels` and sample `indices` (B,) int64; CPU."""

    images: Tensor
    labels: Tensor
    indices: Tensor


class ShardLoader:
    """Reads a shard in batches.

    Engine "ffcv" reads through FFCV's loader, "torch" through the project's own threads, which
    need no FFCV; "auto" is "ffcv" where that is installed. Without shuffle the order is the
    shard's; without `drop_last` every sample comes exactly once, in a last batch that may be
    smaller.

    Raises DataError for a shard that its manifest does not match (its SHA-256 is checked here),
    ConfigError for arguments out of range, EnvironmentProblem when `engine` is "ffcv" and FFCV
    cannot be imported.
    """

    def __init__(
        self,
        path: Path,
        *,
        batch_size: int,
        seed: int,
        shuffle: bool,
        crop: CropPolicy | None,
        flip_prob: float,
        drop_last: bool,
        engine: Engine = "auto",
        workers: int = 2,
        stall_timeout_s: float = 60.0,
    ) -> None:
        _check_arguments(batch_size, seed, flip_prob, engine, workers)
        self.manifest = verify_shard(path)
        self.path, self.batch_size, self.seed = path, batch_size, seed
        self.shuffle, self.drop_last = shuffle, drop_last
        if engine == "auto":
            engine = "ffcv" if importlib.util.find_spec("ffcv") else "torch"
        self.engine: Engine = engine
        renderer = Renderer(self.manifest.image_size, seed, crop, flip_prob)
        if engine == "ffcv":
            from t2t.data.ffcv_import import import_ffcv

            import_ffcv()
            from t2t.data.ffcv_engine import FFCVEngine

            self._engine = FFCVEngine(path, renderer, batch_size, workers, stall_timeout_s)
        else:
            self._engine = ThreadEngine(BetonFile(path), renderer, workers)

    @property
    def num_samples(self) -> int:
        """Samples in the shard."""
        return self.manifest.num_samples

    @property
    def num_batches(self) -> int:
        """Batches in an epoch."""
        whole, rest = divmod(self.num_samples, self.batch_size)
        return whole + (rest > 0 and not self.drop_last)

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in label order."""
        return self.manifest.classes

    def epoch(self, epoch: int, start_batch: int = 0) -> Iterator[Batch]:
        """The batches of an epoch from `start_batch` on.

        Raises ConfigError for an epoch or batch out of range, DataError when reading fails.
        """
        if epoch < 0 or not 0 <= start_batch <= self.num_batches:
            raise ConfigError(
                f"epoch {epoch}, start_batch {start_batch}: expected an epoch of 0 or more and a "
                f"batch in 0..{self.num_batches}"
            )
        return self._epoch(epoch, self._chunks(epoch)[start_batch:])

    def _epoch(self, epoch: int, chunks: list[NDArray[np.int64]]) -> Iterator[Batch]:
        with closing(self._engine.batches(epoch, chunks)) as batches:
            for (frames, labels), indices in zip(batches, chunks, strict=True):
                images = torch.from_numpy(frames).permute(0, 3, 1, 2).contiguous()
                yield Batch(images, torch.from_numpy(labels), torch.from_numpy(indices.copy()))

    def _chunks(self, epoch: int) -> list[NDArray[np.int64]]:
        size = self.num_samples
        order = permutation(self.seed, epoch, size) if self.shuffle else np.arange(size)
        starts = range(0, self.num_batches * self.batch_size, self.batch_size)
        return [order[start : start + self.batch_size] for start in starts]


def _check_arguments(
    batch_size: int, seed: int, flip_prob: float, engine: str, workers: int
) -> None:
    if batch_size < 1 or workers < 1 or seed < 0:
        raise ConfigError(
            f"batch_size {batch_size}, workers {workers}, seed {seed}: expected at least 1, 1, 0"
        )
    if not 0 <= flip_prob <= 1:
        raise ConfigError(f"flip_prob must lie between 0 and 1, not {flip_prob}")
    if engine not in ("auto", "ffcv", "torch"):
        raise ConfigError(f"engine must be auto, ffcv or torch, not {engine!r}")
