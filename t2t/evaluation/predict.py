"""A network's predictions, from the forward passes that score it."""

import numpy as np
import torch
from torch import Tensor, nn

from t2t.data.beton import BetonFile
from t2t.data.loader import ShardLoader
from t2t.evaluation.predictions import NO_CLASS, TOP, Predictions
from t2t.training.validate import Score, validate


def predict(
    model: nn.Module,
    loader: ShardLoader,
    device: torch.device,
    mean: tuple[float, ...],
    std: tuple[float, ...],
    label: str | None = None,
) -> tuple[Score, Predictions]:
    """The score that `validate` gives, and of the same forward passes what each image got.

    loader: of a whole shard, in its order. label: shows the progress under this name.
    """
    batches: list[tuple[Tensor, Tensor]] = []

    def keep(_module: nn.Module, _inputs: object, logits: Tensor) -> None:
        logits = logits.float()
        best = logits.topk(min(TOP, logits.shape[1]), dim=1)
        confidence = (best.values[:, 0] - logits.logsumexp(1)).exp()
        batches.append((best.indices.cpu(), confidence.cpu()))

    handle = model.register_forward_hook(keep)
    try:
        score = validate(model, loader, device, mean, std, label=label)
    finally:
        handle.remove()
    classes, confidences = zip(*batches, strict=True)
    top = np.full((score.images, TOP), NO_CLASS, np.int32)
    found = torch.cat(classes).numpy()
    top[:, : found.shape[1]] = found
    labels = BetonFile(loader.path).labels.astype(np.int32)
    return score, Predictions(labels, top, torch.cat(confidences).numpy())
