"""Where a row goes wrong: its accuracy by class, and the classes it takes for one another."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from t2t.evaluation.predictions import Predictions

MOST_CONFUSED = 20


def class_report(predictions: Sequence[Predictions], classes: Sequence[str]) -> dict[str, Any]:
    """Over all seeds of a row: `classes`, in label order, with their images and top-1, and
    `confused`, the pairs of label and predicted class that are taken for one another most often.

    `images` of a class are those of the validation set; of a pair, over all seeds, those predicted
    so, and `share_pct` is their share of that label's. A class without images has no top-1.
    """
    size = len(classes)
    confusion = np.zeros((size, size), np.int64)
    for each in predictions:
        pairs = each.labels.astype(np.int64) * size + each.top[:, 0]
        confusion += np.bincount(pairs, minlength=size * size).reshape(size, size)
    totals = confusion.sum(1)
    wrong = confusion.copy()
    np.fill_diagonal(wrong, 0)
    order = np.argsort(-wrong.ravel(), kind="stable")[:MOST_CONFUSED]
    return {
        "classes": [
            {
                "name": name,
                "images": int(total) // len(predictions),
                "top1_pct": 100 * float(right) / float(total) if total else None,
            }
            for name, total, right in zip(classes, totals, confusion.diagonal(), strict=True)
        ],
        "confused": [
            {
                "label": classes[label],
                "predicted": classes[predicted],
                "images": int(wrong[label, predicted]),
                "share_pct": 100 * float(wrong[label, predicted]) / float(totals[label]),
            }
            for label, predicted in (divmod(int(place), size) for place in order)
            if wrong[label, predicted]
        ],
    }
