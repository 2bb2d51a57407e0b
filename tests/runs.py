"""A tiny data set of real digits, and the configuration of a run of seconds over it."""

import dataclasses
from pathlib import Path

import pytest
import torch

from t2t.data.shards import write_shard
from t2t.data.sources import open_prepared, prepare
from t2t.training.config import RunConfig
from t2t.training.recipe import Recipe

SHORT = Recipe(
    epochs=3,
    cooldown_epochs=1,
    warmup_epochs=1,
    batch_size=16,
    lr=2e-3,
    lr_factor=1.0,
    warmup_lr=1e-6,
    min_lr=1e-5,
    backbone_lr_factor=1.0,
    optimizer="adamw",
    betas=(0.9, 0.999),
    momentum=0.9,
    weight_decay=0.05,
    decay_all=False,
    frozen=(),
    drop_path=0.1,
    label_smoothing=0.1,
    mixup_alpha=0.8,
    cutmix_alpha=1.0,
    mix_prob=1.0,
    mix_switch_prob=0.5,
    mix_group=64,
    ema_decay=0.99996,
    ema_horizon=0.1,
    crop="resized",
    crop_scale=(0.6, 1.0),
    crop_ratio=(0.75, 1.3333333),
    shift_max=0.0,
    interpolation="random",
    flip_prob=0.0,
    rand_augment="none",
    erase_prob=0.25,
    erase_area=(0.02, 1 / 3),
    erase_min_aspect=0.3,
    train_fraction=1.0,
    normalization="measured",
    teacher="none",
)


class FirstImages:
    """The first `count` images of a split."""

    def __init__(self, split, count):
        self.split, self.count = split, count

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        return self.split[index]


@pytest.fixture(scope="session")
def shards(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("shards")
    prepare("digits", folder / "raw", split_seed=0, val_fraction=0.2)
    source = open_prepared(folder / "raw")
    for split, count in (("train", 100), ("val", 60)):
        write_shard(
            FirstImages(source.split(split), count),
            folder / f"{split}.beton",
            split=split,
            classes=source.classes,
            source_fingerprint=source.fingerprint,
            image_size=32,
        )
    return folder


def with_fine_images(shards: Path, folder: Path, count: int) -> Path:
    """`shards` once more, as links in `folder`, beside `count` validation images of 48 pixels."""
    for path in shards.glob("*.beton*"):
        (folder / path.name).symlink_to(path)
    source = open_prepared(shards / "raw")
    write_shard(
        FirstImages(source.split("val"), count),
        folder / "val_fine.beton",
        split="val",
        classes=source.classes,
        source_fingerprint=source.fingerprint,
        image_size=48,
    )
    return folder


def short_config() -> RunConfig:
    """A run of some two seconds: a narrow, shallow T2T-ViT-7, 24 steps."""
    return RunConfig(
        scale="tiny",
        row="t2t_vit_14",
        seed=0,
        backbone="t2t_vit",
        variant="t2t_vit_7",
        overrides={},
        width_factor=0.25,
        depth_factor=0.3,
        cpu_threads=1,
        recipe=SHORT,
    )


@pytest.fixture
def config() -> RunConfig:
    torch.set_num_threads(1)
    return short_config()


def changed(config: RunConfig, **recipe) -> RunConfig:
    return dataclasses.replace(config, recipe=dataclasses.replace(config.recipe, **recipe))
