"""The data of a run, as its recipe asks for it."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from t2t.data.augment import CIFAR_MEAN, CIFAR_STD, IMAGENET_MEAN, IMAGENET_STD, ErasePolicy
from t2t.data.beton import REMEDY
from t2t.data.crops import CropPolicy, ShiftPolicy
from t2t.data.loader import ShardLoader
from t2t.data.mixing import MixPolicy
from t2t.data.randaugment import fill_colour, parse_policy
from t2t.data.shard_manifest import ShardManifest, load_manifest
from t2t.errors import DataError
from t2t.training.config import TRAIN_SHARD, VAL_SHARD, RunConfig
from t2t.training.environment import number_from
from t2t.training.recipe import Recipe
from t2t.training.step import Preparation

# Images that one process validates at once.
_AT_ONCE = 256
# More threads decode no faster than a GPU trains, and take turns with what feeds it.
_MOST_WORKERS = 16


@dataclass(frozen=True)
class Inputs:
    """The data of a run, and what is done to a training batch."""

    train: ShardLoader
    val: ShardLoader
    preparation: Preparation


def inputs_of(config: RunConfig, shards: Path, device: torch.device, processes: int = 1) -> Inputs:
    """The training and validation shards of `config`, and what is done to a training batch.

    Each of `processes` validates as many images at once as one alone would. RandAugment is
    Pillow's, image by image in the loader, on a CPU, and the batch's on a GPU. Raises DataError for
    shards that are damaged, not the two splits of one set, or not of the same image size.
    """
    recipe = config.recipe
    augment = None if recipe.rand_augment == "none" else parse_policy(recipe.rand_augment)
    mean, std = _statistics(recipe, load_manifest(shards / TRAIN_SHARD))
    fill = fill_colour(mean)
    train = ShardLoader(
        shards / TRAIN_SHARD,
        batch_size=recipe.batch_size,
        seed=config.seed,
        shuffle=True,
        crop=_crop(recipe),
        flip_prob=recipe.flip_prob,
        drop_last=True,
        image_size=config.image_size,
        fraction=recipe.train_fraction,
        augment=augment if device.type == "cpu" else None,
        fill=fill,
        workers=_workers(device),
    )
    val = validation_loader(shards, config.val_shard, _workers(device), _AT_ONCE * processes)
    _check_match(train, val)
    preparation = Preparation(
        rand_augment=augment,
        fill=fill,
        mix=_mix(recipe),
        erasing=ErasePolicy(
            prob=recipe.erase_prob, area=recipe.erase_area, min_aspect=recipe.erase_min_aspect
        ),
        label_smoothing=recipe.label_smoothing,
        num_classes=len(train.classes),
        batch_size=recipe.batch_size,
        mean=mean,
        std=std,
    )
    return Inputs(train, val, preparation)


def validation_loader(
    shards: Path, name: str = VAL_SHARD, workers: int = 2, batch_size: int = _AT_ONCE
) -> ShardLoader:
    """Every image of the validation shard `name` once, in order, as it is stored."""
    return ShardLoader(
        shards / name,
        batch_size=batch_size,
        seed=0,
        shuffle=False,
        crop=None,
        flip_prob=0.0,
        drop_last=False,
        workers=workers,
    )


def _check_match(train: ShardLoader, val: ShardLoader) -> None:
    """Raises DataError for shards that are not the two splits of one set, or whose images are not
    of one size when the network sees them.

    Labels are positions in a shard's own list of classes: in two orders, accuracy would be chance.
    """
    for loader, split in ((train, "train"), (val, "val")):
        if loader.manifest.split != split:
            raise DataError(
                f"{loader.path}: holds the split {loader.manifest.split!r}, expected {split!r}; "
                f"{REMEDY}"
            )
    if train.image_size != val.image_size:
        raise DataError(
            f"{val.path}: holds images of {val.image_size} pixels a side, the network is trained "
            f"on {train.image_size}; {REMEDY}"
        )
    for what in ("classes", "source_fingerprint"):
        ours, theirs = getattr(train.manifest, what), getattr(val.manifest, what)
        if ours != theirs:
            raise DataError(
                f"{train.path} and {val.path}: {what} differ ({_first_difference(ours, theirs)}), "
                f"so they are not of one data set; {REMEDY}"
            )


def _first_difference(ours: Sequence[str], theirs: Sequence[str]) -> str:
    if isinstance(ours, str):
        return f"{ours[:12]}... and {theirs[:12]}..."
    if len(ours) != len(theirs):
        return f"{len(ours)} and {len(theirs)}"
    label = next(i for i, pair in enumerate(zip(ours, theirs, strict=True)) if pair[0] != pair[1])
    return f"label {label} is {ours[label]!r} and {theirs[label]!r}"


def _crop(recipe: Recipe) -> CropPolicy | ShiftPolicy:
    if recipe.crop == "shifted":
        return ShiftPolicy(recipe.shift_max, recipe.interpolation)
    return CropPolicy(recipe.crop_scale, recipe.crop_ratio, recipe.interpolation)


def _statistics(
    recipe: Recipe, manifest: ShardManifest
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of the channels, R, G, B, in units of the range 0..1."""
    if recipe.normalization == "measured":
        return manifest.channel_mean, manifest.channel_std
    if recipe.normalization == "cifar":
        return CIFAR_MEAN, CIFAR_STD
    return IMAGENET_MEAN, IMAGENET_STD


def _mix(recipe: Recipe) -> MixPolicy:
    return MixPolicy(
        mixup_alpha=recipe.mixup_alpha,
        cutmix_alpha=recipe.cutmix_alpha,
        switch_prob=recipe.mix_switch_prob,
        prob=recipe.mix_prob,
        group_size=recipe.mix_group,
    )


def _workers(device: torch.device) -> int:
    """Reading threads of one process: each GPU's share of the cores, or two.

    T2T_CORES says how many cores are for the GPUs that this process sees, where others see more.
    """
    if device.type != "cuda":
        return 2
    cores = number_from("T2T_CORES", 1) or len(os.sched_getaffinity(0))
    return min(_MOST_WORKERS, max(2, cores // torch.cuda.device_count()))
