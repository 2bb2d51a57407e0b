"""Accuracy by class and the most confused pairs, counted one by one."""

from collections import Counter

import numpy as np
import pytest

from t2t.evaluation.classes import MOST_CONFUSED, class_report
from t2t.evaluation.predictions import Predictions

NAMES = [f"class {label}" for label in range(6)]


def drawn(seed, labels):
    rng = np.random.default_rng(seed)
    top = np.full((len(labels), 5), -1, np.int32)
    top[:, 0] = np.where(rng.random(len(labels)) < 0.6, labels, rng.integers(0, 6, len(labels)))
    return Predictions(labels, top, np.ones(len(labels), np.float32))


def test_every_figure_is_that_of_counting():
    labels = np.random.default_rng(9).integers(0, 5, 300).astype(np.int32)  # none of class 5
    rows = [drawn(seed, labels) for seed in (0, 1)]
    report = class_report(rows, NAMES)
    pairs = Counter((int(y), int(x)) for row in rows for y, x in zip(row.labels, row.top[:, 0]))  # noqa: B905
    for label, entry in enumerate(report["classes"]):
        of_label = sum(count for (y, _), count in pairs.items() if y == label)
        assert entry["name"] == NAMES[label] and entry["images"] == of_label / 2
        if of_label:
            assert entry["top1_pct"] == pytest.approx(100 * pairs[label, label] / of_label)
    assert report["classes"][5] == {"name": "class 5", "images": 0, "top1_pct": None}
    confused = report["confused"]
    assert [entry["images"] for entry in confused] == sorted(
        (count for (y, x), count in pairs.items() if y != x), reverse=True
    )[:MOST_CONFUSED]
    for entry in confused:
        y, x = NAMES.index(entry["label"]), NAMES.index(entry["predicted"])
        assert entry["images"] == pairs[y, x]
        total = sum(count for (label, _), count in pairs.items() if label == y)
        assert entry["share_pct"] == pytest.approx(100 * pairs[y, x] / total)


def test_a_row_without_mistakes_confuses_nothing():
    labels = np.arange(6, dtype=np.int32)
    top = np.repeat(labels[:, None], 5, axis=1)
    report = class_report([Predictions(labels, top, np.ones(6, np.float32))], NAMES)
    assert report["confused"] == []
    assert {entry["top1_pct"] for entry in report["classes"]} == {100.0}
