"""Accuracy and loss of a network over a whole validation set."""

from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from t2t.data.augment import normalize
from t2t.data.loader import ShardLoader
from t2t.data.progress import Progress
from t2t.data.transfer import to_device
from t2t.training.passes import most_at_once
from t2t.training.ranks import ALONE, Ranks


@dataclass(frozen=True)
class Score:
    """top1_pct, top5_pct: share of images with the label among the 1 or 5 largest logits, in
    percent; loss: mean cross-entropy; images: how many."""

    top1_pct: float
    top5_pct: float
    loss: float
    images: int


@torch.no_grad()
def validate(
    model: nn.Module,
    loader: ShardLoader,
    device: torch.device,
    mean: tuple[float, ...],
    std: tuple[float, ...],
    ranks: Ranks = ALONE,
    label: str | None = None,
) -> Score:
    """Scores `model` (put into eval mode) on every image of `loader`: in float32, but for
    what a caller's autocast computes otherwise.

    label: shows the progress under this name.
    Several processes take every `ranks.count`-th image each, and all get the whole score. Raises
    EnvironmentProblem where T2T_IMAGES_PER_PASS holds no number of at least 2.
    """
    model.eval()
    sums = torch.zeros(3, dtype=torch.float64, device=device)
    images = loader.num_samples
    with Progress(label, images) if label else nullcontext() as progress:
        for pixels, labels in _portions(loader, ranks):
            labels = to_device(labels, device)
            logits = model(normalize(to_device(pixels, device), mean, std)).float()
            loss = nn.functional.cross_entropy(logits, labels, reduction="sum")
            best = logits.topk(min(5, logits.shape[1]), dim=1).indices == labels[:, None]
            sums += torch.stack([best[:, 0].sum(), best.sum(), loss])
            if progress:
                progress.advance(len(labels))
    hits1, hits5, loss_sum = ranks.summed(sums).tolist()
    return Score(100 * hits1 / images, 100 * hits5 / images, loss_sum / images, images)


def _portions(loader: ShardLoader, ranks: Ranks) -> Iterator[tuple[Tensor, Tensor]]:
    """This process's images (B, 3, H, W) and labels (B,), as many as its device takes at once."""
    own = np.arange(ranks.rank, loader.batch_size, ranks.count)
    most = most_at_once(len(own))
    for batch in loader.epoch(0, part=own):
        if len(batch.labels):
            yield from zip(batch.images.split(most), batch.labels.split(most), strict=True)
