"""Accuracy and loss of a network over a whole validation set."""

from dataclasses import dataclass

import torch
from torch import nn

from t2t.data.augment import normalize
from t2t.data.loader import ShardLoader


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
) -> Score:
    """Scores `model` (put into eval mode) on every image of `loader`, in float32."""
    model.eval()
    hits1 = hits5 = images = 0
    loss_sum = 0.0
    for batch in loader.epoch(0):
        labels = batch.labels.to(device)
        logits = model(normalize(batch.images.to(device), mean, std)).float()
        loss_sum += nn.functional.cross_entropy(logits, labels, reduction="sum").item()
        best = logits.topk(min(5, logits.shape[1]), dim=1).indices == labels[:, None]
        hits1 += int(best[:, 0].sum())
        hits5 += int(best.sum())
        images += len(labels)
    return Score(100 * hits1 / images, 100 * hits5 / images, loss_sum / images, images)
