"""A fixed sample of a validation shard, for every row and seed the same."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from t2t.data.augment import normalize
from t2t.data.loader import Batch, ShardLoader
from t2t.errors import DataError

# Attention maps of a batch of 64 at 224 pixels take some 0.7 GB in ViT-S.
_BATCH_SIZE = 64


class ValidationSample:
    """The validation images of some runs in one random order, from which the first ones are taken.

    A shard may hold its images class by class, so its own order would give few classes.

    config: the content of a run's config.json, which names the shard and the statistics that its
    network expects.
    """

    def __init__(self, shards: Path, config: Mapping[str, Any], device: torch.device) -> None:
        self.device = device
        self._mean, self._std = config["channel_mean"], config["channel_std"]
        self._loader = ShardLoader(
            shards / config["val_shard"],
            batch_size=_BATCH_SIZE,
            seed=0,
            shuffle=True,
            crop=None,
            flip_prob=0.0,
            drop_last=False,
        )

    def expect_shard_of(self, run: Path, config: Mapping[str, Any]) -> None:
        """Raises DataError where the run in the folder `run` was trained beside another shard."""
        if config["shards"]["val"] != self._loader.manifest.sha256:
            raise DataError(
                f"{run}: trained beside another validation shard than {self._loader.path}"
            )

    def size(self, wanted: int) -> int:
        """How many images there are of those wanted."""
        return min(wanted, self._loader.num_samples)

    def batches(self, wanted: int) -> Iterator[tuple[Tensor, Tensor]]:
        """The first `wanted` images (B, 3, H, W), normalised, and labels (B,), on the device."""
        for batch in self._raw(wanted):
            yield self.normalized(batch.images), batch.labels.to(self.device)

    def normalized(self, images: Tensor) -> Tensor:
        """uint8 (B, 3, H, W) as the network expects them, on the device."""
        return normalize(images.to(self.device), self._mean, self._std)

    def pictured(self, count: int) -> Tensor:
        """Up to `count` images of different classes, the first ones: (count, 3, H, W) uint8."""
        first = next(self._raw(_BATCH_SIZE))
        _, places = np.unique(first.labels.numpy(), return_index=True)
        return first.images[np.sort(places)[:count]]

    def _raw(self, wanted: int) -> Iterator[Batch]:
        left = self.size(wanted)
        for batch in self._loader.epoch(0):
            yield Batch(*(field[:left] for field in batch))
            left -= len(batch.labels)
            if left <= 0:
                return
