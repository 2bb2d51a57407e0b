"""Runs that take another run's backbone to another data set."""

import dataclasses
import json

import pytest
import torch
from safetensors.torch import load_file

from t2t.training import loop as loop_module
from t2t.training.config import Parent
from t2t.training.run import train_run
from tests.runs import changed, short_config

pytestmark = pytest.mark.slow
OFFICIAL = {
    "epochs": 3,
    "cooldown_epochs": 0,
    "warmup_epochs": 0,
    "lr": 0.05,
    "min_lr": 2e-4,
    "backbone_lr_factor": 0.01,
    "optimizer": "sgd",
    "weight_decay": 5e-4,
    "decay_all": True,
    "frozen": ("norm", "cls_token"),
    "label_smoothing": 0.0,
    "mix_prob": 0.0,
    "erase_prob": 0.0,
    "ema_decay": 0.0,
    "crop": "shifted",
    "shift_max": 0.125,
    "interpolation": "bilinear",
}


@pytest.fixture(scope="module")
def parent(shards, tmp_path_factory):
    folder = tmp_path_factory.mktemp("parent")
    train_run(short_config(), shards, folder / "work", folder / "out", {})
    return folder / "out"


@pytest.fixture
def transfer(config, parent):
    """Downstream are the same images, so that the head would fit."""
    start = Parent(parent, "backbone")
    return dataclasses.replace(changed(config, **OFFICIAL), parent=start, downstream="flowers102")


@pytest.fixture
def trained(transfer, shards, tmp_path):
    train_run(transfer, shards, tmp_path / "work", tmp_path / "out", {})
    return tmp_path / "out"


def test_frozen_parts_keep_their_bits_and_the_rest_moves(trained, parent):
    before, after = (load_file(folder / "ema.safetensors") for folder in (parent, trained))
    kept = {key for key, value in after.items() if torch.equal(value, before[key])}
    attention = {f"tokens_to_token.attention{i}.w" for i in (1, 2)}
    assert kept == {"norm.weight", "norm.bias", "cls_token", "pos_embed"} | attention


def test_without_an_average_the_weights_are_the_last_ones(trained):
    average, raw = (load_file(trained / f"{name}.safetensors") for name in ("ema", "raw"))
    assert all(torch.equal(average[key], raw[key]) for key in raw)


def test_the_head_is_new_even_where_the_old_one_fits(transfer, parent, shards, tmp_path):
    """With a rate of nearly nothing the backbone is the parent's, the head a fresh network's."""
    still = changed(transfer, lr=1e-12, warmup_lr=0.0, min_lr=0.0, epochs=1)
    train_run(still, shards, tmp_path / "work", tmp_path / "out", {})
    scratch = dataclasses.replace(still, parent=None)
    train_run(scratch, shards, tmp_path / "work", tmp_path / "scratch", {})
    ours, parents, fresh = (
        load_file(folder / "ema.safetensors")
        for folder in (tmp_path / "out", parent, tmp_path / "scratch")
    )
    for key, value in ours.items():
        other = fresh if key.startswith("head.") else parents
        torch.testing.assert_close(value, other[key], rtol=0, atol=1e-6)
    for key in ("head.weight", "blocks.0.attn.qkv.weight"):
        assert not torch.allclose(fresh[key], parents[key], rtol=0, atol=1e-3)


@pytest.mark.parametrize("step", [4, 6, 13])
def test_resume_after_a_kill_is_bitwise(transfer, trained, shards, tmp_path, step, monkeypatch):
    """With SGD's momentum, two rates and shifted images."""
    real = loop_module.train_step

    def failing(state, *args, **kwargs):
        if state.step == step:
            raise KeyboardInterrupt
        return real(state, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(loop_module, "train_step", failing)
        with pytest.raises(KeyboardInterrupt):
            train_run(transfer, shards, tmp_path / "again", tmp_path / "resumed", {})
    train_run(transfer, shards, tmp_path / "again", tmp_path / "resumed", {})
    for path in trained.iterdir():
        assert path.read_bytes() == (tmp_path / "resumed" / path.name).read_bytes(), path.name


def test_what_it_is_stands_in_its_files(trained, parent, shards, tmp_path):
    config = json.loads((trained / "config.json").read_text())
    digest = json.loads((parent / "config.json").read_text())["digest"]
    assert config["parent"] == {"role": "backbone", "digest": digest}
    assert (config["data_set"], config["train_images"]) == ("tiny.flowers102", 100)
    (record,) = (json.loads(path.read_text()) for path in (tmp_path / "work").glob("*/run.json"))
    assert record["experiment"] == "tiny"
    names = {context: data["name"] for context, data in record["datasets"].items()}
    assert names == {"training": "tiny.flowers102-train", "validation": "tiny.flowers102-val"}
