"""Accuracy beyond the validation labels: on other labels for its images, and on other images.

What there is of them is said by a JSON file, which names files beside it. It has an entry for each
set: `labels`, a list of classes for each validation image, in the shard's order; or a shard for
each validation shard's name, with images of the same size.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from t2t.data.loader import ShardLoader
from t2t.errors import DataError
from t2t.evaluation.intervals import top1_summary
from t2t.evaluation.predict import predict
from t2t.evaluation.predictions import Predictions
from t2t.training.inputs import validation_loader

LABELS = "labels"
# ReaL keeps ImageNet's own label of nine images in ten; in another order it would be one in 500.
LEAST_AGREEMENT = 0.5


@dataclass(frozen=True, eq=False)
class ExtraAnswer:
    """Whether each image that counts was right, `correct` (N,). `predictions` are those of images
    of the set's own, null where it has none."""

    correct: NDArray[np.bool_]
    predictions: Predictions | None = None


ExtraAnswers = Mapping[str, ExtraAnswer]


@dataclass(frozen=True, eq=False)
class ExtraSets:
    """Sets by name: those of labels alone, for each validation image, and those of images."""

    labels: Mapping[str, list[list[int]]]
    images: Mapping[str, ShardLoader]

    def answers(
        self,
        model: nn.Module,
        predictions: Predictions,
        device: torch.device,
        mean: tuple[float, ...],
        std: tuple[float, ...],
    ) -> ExtraAnswers:
        """What `model` gets on each set, whose `predictions` on the validation images are known.

        Raises DataError for labels that are not of these images.
        """
        found = {
            name: ExtraAnswer(right_by_labels(predictions, labels, name))
            for name, labels in self.labels.items()
        }
        for name, loader in self.images.items():
            _, own = predict(model, loader, device, mean, std)
            found[name] = ExtraAnswer(own.correct, own)
        return found


def open_extra_sets(listed: Path | None, val_shard: str, classes: Sequence[str]) -> ExtraSets:
    """The sets that the file `listed` names, images as large as those of the shard `val_shard`;
    none without a file.

    Raises DataError for a file that is no such list, and for images of other `classes`.
    """
    if listed is None:
        return ExtraSets({}, {})
    try:
        content = json.loads(listed.read_text())
        labels = {
            name: json.loads((listed.parent / files[LABELS]).read_text())
            for name, files in content.items()
            if LABELS in files
        }
        shards = {name: files[val_shard] for name, files in content.items() if name not in labels}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{listed}: no list of sets ({error!r}); make it again") from None
    images = {name: validation_loader(listed.parent, shard) for name, shard in shards.items()}
    for name, loader in images.items():
        if tuple(loader.classes) != tuple(classes):
            raise DataError(f"{loader.path}: has other classes than the validation images; {name}")
    return ExtraSets(labels, images)


def right_by_labels(
    predictions: Predictions, labels: Sequence[Sequence[int]], name: str
) -> NDArray[np.bool_]:
    """Whether the likeliest class is among an image's `labels`, for each image that has any.

    Raises DataError for labels of another number of images, or in another order.
    """
    counts = np.array([len(entry) for entry in labels], np.int64)
    if len(counts) != len(predictions.labels):
        raise DataError(
            f"{name}: labels of {len(counts):,} images, {len(predictions.labels):,} are there"
        )
    owner = np.repeat(np.arange(len(counts)), counts)
    flat = np.array([label for entry in labels for label in entry], np.int64)
    labelled = counts > 0
    agreement = _any_of(owner, flat == predictions.labels[owner], len(counts))[labelled].mean()
    if agreement < LEAST_AGREEMENT:
        raise DataError(
            f"{name}: the images' own label is among its labels for {agreement:.1%} of them; they "
            "are not in the validation images' order"
        )
    return _any_of(owner, flat == predictions.top[owner, 0], len(counts))[labelled]


def _any_of(owner: NDArray[np.int64], holds: NDArray[np.bool_], size: int) -> NDArray[np.bool_]:
    """Whether any of what an image owns `holds`, (size,)."""
    found = np.zeros(size, bool)
    found[owner[holds]] = True
    return found


def extra_summary(answers: Sequence[ExtraAnswers]) -> dict[str, dict[str, Any]]:
    """For each set, from the answers of every seed: top-1 with its interval, and how many images;
    of sets with images of their own top-5 too, as the mean over seeds."""
    summary: dict[str, dict[str, Any]] = {}
    for name, first in answers[0].items():
        every = [answer[name] for answer in answers]
        summary[name] = {
            **top1_summary([each.correct for each in every]),
            "images": len(first.correct),
        }
        own = [each.predictions for each in every if each.predictions is not None]
        if own:
            hits = [(each.top == each.labels[:, None]).any(1).mean() for each in own]
            summary[name]["top5_pct"] = 100 * float(np.mean(hits))
    return summary
