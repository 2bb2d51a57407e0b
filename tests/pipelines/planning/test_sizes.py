"""How many images a scale has."""

import json
import shutil

import numpy as np
import pytest

from pipelines.params.reader import Params
from pipelines.planning import planner
from pipelines.planning.sizes import DataSize, data_size
from pipelines.planning.text import as_text
from t2t.data.loader import ShardLoader
from t2t.data.sources import load_source
from t2t.data.sources.adapters.imagenet import ilsvrc2012
from t2t.data.sources.adapters.imagenette import IMAGES
from t2t.data.subset import nested_subset
from tests.pipelines.planning.project import DIGITS, states, with_block


@pytest.mark.parametrize(
    "block, expected",
    [
        ("{source: imagenette, size: 160px}", (*IMAGES.values(), 10)),
        ("{source: imagenet}", (*ilsvrc2012().images.values(), 1000)),
        ("{source: cifar100}", (50_000, 10_000, 100)),
        ("{source: flowers102}", (2040, 6149, 102)),
    ],
)
def test_published_sets_are_known_before_they_are_there(root, block, expected):
    params = with_block(root, DIGITS, block)
    size = data_size(params, "digits", root, fresh=False)
    assert (size.train_images, size.val_images, size.num_classes) == expected


@pytest.mark.parametrize("fraction", [0.2, 0.55])
def test_digits_are_split_as_the_stage_would(root, fraction):
    params = with_block(root, "val_fraction: 0.2", f"val_fraction: {fraction}")
    size = data_size(params, "digits", root, fresh=False)
    source = load_source("digits", split_seed=0, val_fraction=fraction)
    assert size.train_images == len(source.split("train"))
    assert size.val_images == len(source.split("val"))
    kept = nested_subset(source.split("train").labels, 0.3)
    assert size.trained_on(0.3) == len(kept) and size.trained_on(1) == size.train_images


def test_shards_are_believed_while_they_are_fresh(root, shards):
    folder = root / "data" / "shards" / "digits"
    shutil.copytree(shards, folder, ignore=shutil.ignore_patterns("raw", "*.beton"))
    params = Params(root / "params.yaml")
    fresh = data_size(params, "digits", root, fresh=True)
    assert (fresh.train_images, fresh.val_images, fresh.known_from) == (100, 60, "the shards")
    assert sum(fresh.counts) == 100
    assert data_size(params, "digits", root, fresh=False).train_images == 1437
    (folder / "train.beton.json").write_text("{")
    assert data_size(params, "digits", root, fresh=True).train_images == 1437


def test_a_folder_of_images_is_known_once_it_is_prepared(root):
    params = with_block(root, DIGITS, "{source: imagefolder, path: pets}")
    assert data_size(params, "digits", root, fresh=False) is None
    counts = {"train": {"cat": 7, "dog": 5}, "val": {"cat": 2, "dog": 1}}
    (root / "data" / "raw" / "digits").mkdir(parents=True)
    (root / "data" / "raw" / "digits" / "manifest.json").write_text(json.dumps({"counts": counts}))
    size = data_size(params, "digits", root, fresh=False)
    assert (size.train_images, size.val_images, size.num_classes) == (12, 3, 2)


def test_steps_are_the_loaders(root, shards):
    folder = root / "data" / "shards" / "digits"
    shutil.copytree(shards, folder, ignore=shutil.ignore_patterns("raw"))
    for cost in planner.make_plan(root).costs:
        row = cost.row
        loader = ShardLoader(
            folder / "train.beton",
            batch_size=row.recipe.batch_size,
            seed=0,
            shuffle=True,
            crop=None,
            flip_prob=0.0,
            drop_last=True,
        )
        assert row.steps == row.recipe.total_epochs * loader.num_batches > 0
        assert row.images == row.steps * row.recipe.batch_size


def test_unknown_images_leave_steps_open(root, monkeypatch):
    with_block(root, DIGITS, "{source: imagefolder, path: pets}")
    monkeypatch.setattr(planner, "stage_states", lambda folder: states(prepare=["code"]))
    made = planner.make_plan(root, images_per_s=100)
    assert [cost.row.steps for cost in made.costs] == [None] * 3
    assert made.possible.rows == 3
    assert (made.possible.steps, made.possible.images, made.possible.device_h) == (None,) * 3
    text = as_text(made)
    assert "unknown until prepared (imagefolder)" in text and "device-h" not in text
    assert "Steps and hours: known as soon as `dvc repro shard`" in text


def test_a_fraction_of_classes_that_are_not_counted_is_rounded():
    size = DataSize(1001, 10, 10, "elsewhere")
    assert size.trained_on(0.1) == np.rint(100.1)
