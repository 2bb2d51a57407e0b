"""Other labels of the validation images, and other images, as a row is scored on them."""

import json

import numpy as np
import pytest

from t2t.data.shards import write_shard
from t2t.data.sources import open_prepared
from t2t.errors import DataError
from t2t.evaluation.extra_sets import open_extra_sets, right_by_labels
from t2t.evaluation.predictions import Predictions, read_row
from t2t.evaluation.row import evaluate_row, write_answers
from t2t.training.run import train_run
from tests.runs import changed, short_config


class LastImages:
    """The last `count` images of a split."""

    def __init__(self, split, count):
        self.split, self.count = split, count

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        return self.split[len(self.split) - self.count + index]


def predictions(labels, likeliest):
    top = np.full((len(labels), 5), -1, np.int32)
    top[:, 0] = likeliest
    return Predictions(np.array(labels, np.int32), top, np.ones(len(labels), np.float32))


def test_a_prediction_is_right_if_it_is_among_the_labels():
    """Images without labels count neither way."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 10, 400)
    answers = np.where(rng.random(400) < 0.5, labels, rng.integers(0, 10, 400))
    sets = [[int(y), *rng.integers(0, 10, rng.integers(0, 3)).tolist()] for y in labels]
    for index in range(0, 400, 7):
        sets[index] = []
    found = right_by_labels(predictions(labels, answers), sets, "real")
    wanted = [
        answer in entry for answer, entry in zip(answers.tolist(), sets, strict=True) if entry
    ]
    assert found.tolist() == wanted


def test_labels_in_another_order_are_noticed():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 10, 400)
    shuffled = [[int(y)] for y in rng.permutation(labels)]
    with pytest.raises(DataError, match="real: .*not in the validation images' order"):
        right_by_labels(predictions(labels, labels), shuffled, "real")
    with pytest.raises(DataError, match="labels of 399 images, 400 are there"):
        right_by_labels(predictions(labels, labels), shuffled[1:], "real")


@pytest.fixture(scope="module")
def listed(shards, tmp_path_factory):
    """Two sets: each image's own label and the next, and the last 80 validation images."""
    folder = tmp_path_factory.mktemp("extra")
    source = open_prepared(shards / "raw")
    labels = [[int(y), (int(y) + 1) % 10] for y in source.split("val").labels[:60]]
    (folder / "real.json").write_text(json.dumps([[], *labels[1:]]))
    write_shard(
        LastImages(source.split("val"), 80),
        folder / "v2.beton",
        split="val",
        classes=source.classes,
        source_fingerprint=source.fingerprint,
        image_size=32,
    )
    sets = {"real": {"labels": "real.json"}, "v2": {"val.beton": "v2.beton"}}
    (folder / "sets.json").write_text(json.dumps(sets))
    return folder / "sets.json"


@pytest.mark.slow
def test_a_row_is_scored_on_every_set(listed, shards, tmp_path):
    config = changed(short_config(), epochs=1, cooldown_epochs=0, warmup_epochs=0)
    train_run(config, shards, tmp_path / "work", tmp_path / "row" / "seed_0", {})
    evaluation = evaluate_row(tmp_path / "row", shards, listed)
    summary = evaluation.summary()
    real, v2 = (summary["extra_sets"][name] for name in ("real", "v2"))
    (own,) = evaluation.predictions
    right = [x in (y, (y + 1) % 10) for x, y in zip(own.top[:, 0], own.labels, strict=True)]
    assert real["top1_pct"] == pytest.approx(100 * np.mean(right[1:]))
    assert (real["images"], v2["images"], summary["val_images"]) == (59, 80, 60)
    write_answers(evaluation, tmp_path / "predictions", tmp_path / "classes.json")
    kept = read_row(tmp_path / "predictions" / "v2")[0]
    assert v2["top1_pct"] == pytest.approx(100 * kept.correct.mean())
    hits = (kept.top == kept.labels[:, None]).any(1)
    assert v2["top5_pct"] == pytest.approx(100 * hits.mean())
    assert v2["top1_low_pct"] <= v2["top1_pct"] <= v2["top1_high_pct"]
    (of_seed,) = evaluation.metrics_per_seed()
    assert of_seed["v2_top1_pct"] == pytest.approx(v2["top1_pct"])
    assert set(read_row(tmp_path / "predictions")) == {0}


def test_images_of_other_classes_are_refused(listed, shards):
    classes = tuple(map(str, range(10)))
    assert set(open_extra_sets(listed, "val.beton", classes).images) == {"v2"}
    with pytest.raises(DataError, match="has other classes"):
        open_extra_sets(listed, "val.beton", classes[::-1])


@pytest.mark.parametrize("fault", ["no such shard", "cut", "missing"])
def test_a_list_that_is_none_is_refused(listed, tmp_path, fault):
    path = tmp_path / "sets.json"
    if fault != "missing":
        text = listed.read_text()
        path.write_text(text.replace("val.beton", "other") if fault != "cut" else text[:9])
        (tmp_path / "real.json").write_text("[]")
    with pytest.raises(DataError, match="sets.json: no list of sets"):
        open_extra_sets(path, "val.beton", ())
