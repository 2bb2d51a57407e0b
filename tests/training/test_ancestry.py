"""Runs that go on from another run's weights, or learn from its answers."""

import dataclasses
import json

import pytest
import torch
from safetensors.torch import load_file

from t2t.errors import ConfigError, DataError
from t2t.training.ancestry import teacher_of
from t2t.training.config import Parent
from t2t.training.run import train_run
from tests.runs import changed, with_fine_images

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def fine_shards(shards, tmp_path_factory):
    """The shards beside validation images of 48 pixels."""
    return with_fine_images(shards, tmp_path_factory.mktemp("fine"), 60)


@pytest.fixture(scope="module")
def parent(shards, tmp_path_factory):
    from tests.runs import short_config

    folder = tmp_path_factory.mktemp("parent")
    train_run(changed(short_config(), epochs=10), shards, folder / "work", folder / "out", {})
    return folder / "out"


def result(out):
    config = json.loads((out / "config.json").read_text())
    return config, load_file(out / "ema.safetensors"), (out / "metrics.jsonl").read_text()


def test_larger_images_go_on_from_smaller_ones(config, parent, fine_shards, tmp_path):
    short = changed(config, epochs=1, cooldown_epochs=0, warmup_epochs=0, lr=2e-5, min_lr=1e-6)
    fine = dataclasses.replace(short, image_size=48, parent=Parent(parent, "weights"))
    train_run(fine, fine_shards, tmp_path / "work", tmp_path / "out", {})
    resolved, weights, _ = result(tmp_path / "out")
    before = load_file(parent / "ema.safetensors")
    assert resolved["image_size"] == 48 and resolved["val_shard"] == "val_fine.beton"
    assert resolved["parent"] == {"role": "weights", "digest": result(parent)[0]["digest"]}
    assert weights["pos_embed"].shape[1] == 10 and before["pos_embed"].shape[1] == 5
    moved = torch.linalg.norm(weights["head.weight"] - before["head.weight"])
    assert 0 < moved < 0.05 * torch.linalg.norm(before["head.weight"])


def test_a_teacher_changes_what_is_learnt_and_the_digest(config, parent, shards, tmp_path):
    taught = dataclasses.replace(config, parent=Parent(parent, "teacher"))
    digests = []
    for name, run in (("alone", config), ("taught", taught)):
        train_run(run, shards, tmp_path / name, tmp_path / f"{name}_out", {})
        digests.append(result(tmp_path / f"{name}_out"))
    assert digests[0][0]["digest"] != digests[1][0]["digest"]
    assert not torch.equal(digests[0][1]["head.weight"], digests[1][1]["head.weight"])
    assert "num_classes" in digests[1][0] and digests[1][0]["parent"]["role"] == "teacher"


def test_two_teachers_or_one_of_other_classes_are_refused(config, parent):
    resolved = {"num_classes": 10, "image_size": 32}
    with pytest.raises(ConfigError, match="two teachers: resnet50 and the run in"):
        teacher_of(Parent(parent, "teacher"), "resnet50", resolved)
    with pytest.raises(ConfigError, match="knows ImageNet's 1000 classes, the data set has 10"):
        teacher_of(None, "resnet50", resolved)
    with pytest.raises(ConfigError, match="'resnet_fifty': torchvision has no such model"):
        teacher_of(None, "resnet_fifty", resolved | {"num_classes": 1000})


def test_a_parent_that_was_not_trained_is_named(config, shards, tmp_path):
    orphan = dataclasses.replace(config, parent=Parent(tmp_path / "none", "weights"))
    with pytest.raises(DataError, match=r"none/config\.json: missing; train that row first"):
        train_run(orphan, shards, tmp_path / "work", tmp_path / "out", {})


def test_a_fraction_makes_shorter_epochs_of_the_same_images(config, shards, tmp_path):
    half = changed(config, train_fraction=0.5, batch_size=8, epochs=2, cooldown_epochs=0)
    train_run(half, shards, tmp_path / "work", tmp_path / "out", {})
    steps = [json.loads(line)["step"] for line in result(tmp_path / "out")[2].splitlines()]
    assert steps == [6, 12]


def test_a_teacher_of_imagenet_is_shown_images_as_it_knows_them():
    resolved = {"num_classes": 1000, "image_size": 32, "recipe": {"normalization": "measured"}}
    with pytest.raises(
        ConfigError, match="teacher resnet50 .* normalization must be imagenet, not"
    ):
        teacher_of(None, "resnet50", resolved)
