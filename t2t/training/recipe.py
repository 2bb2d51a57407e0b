"""The training recipe: every knob of a run that is not the network or the data, and its schedules.

The paper's values stand in params.yaml; here is what each knob means and which values make sense.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from t2t.errors import ConfigError
from t2t.files import json_text, sha256_text

# What is asked of every run of a row, besides its recipe: its network, larger images (None for
# those of the shards), and what another row's runs are to it (None where it needs none).
_ASKED = ("backbone", "variant", "width_factor", "depth_factor", "image_size", "role")


class RecipeError(ConfigError):
    """A knob is out of range; `key` names it."""

    def __init__(self, key: str, problem: str):
        super().__init__(f"{key}: {problem}")
        self.key = key
        self.problem = problem

    def __reduce__(self):
        # Pickle would make it anew from its message alone.
        return type(self), (self.key, self.problem)


@dataclass(frozen=True)
class Recipe:
    """How a network is trained. Raises RecipeError for a value out of range.

    epochs: epochs of the cosine, the warmup_epochs included; cooldown_epochs follow at min_lr.
    batch_size: images per optimiser step over all devices.
    optimizer: "adamw", with its two decay rates betas, or "sgd" with momentum.
    weight_decay: for matrices and kernels, or with decay_all for every parameter.
    lr, warmup_lr, min_lr: peak, first and last learning rate; constant inside an epoch, as in the
        paper's training code. lr_factor multiplies lr.
    backbone_lr_factor: the peak of all but the head, as a multiple of the head's. Both have the
        same min_lr, which may be the higher: the rate of the backbone rises then.
    frozen: parameters, or modules with all of theirs, by name, that keep the values they begin
        with.
    drop_path: stochastic depth of the last block, rising linearly from 0 at the first.
    label_smoothing: share of a target spread evenly over all classes.
    mixup_alpha, cutmix_alpha: Beta parameters, 0 switches the kind off; mix_prob: share of the
        batches that are mixed; mix_switch_prob: share of those that get cutmix. mix_group images
        of a batch share one draw and are mixed among themselves.
    ema_decay: decay per step of the averaged weights. ema_horizon caps the averaging time,
        1 / (1 - decay) steps, at this share of the run, so that a short run does not keep its
        initial weights.
    crop: "resized", a random part of the image, its area share in crop_scale and its aspect ratio
        in crop_ratio, resized (RandomResizedCrop); or "shifted", the image resized by its short
        side and cut out up to shift_max of a side beyond its edges, black there.
    interpolation: of that resizing; "random" is bilinear or bicubic, evenly.
    flip_prob: of the horizontal flip; rand_augment: timm's notation, or "none".
    erase_prob: of random erasing by noise, in boxes of erase_area of the image and of at least
        erase_min_aspect (its inverse at most).
    train_fraction: share of each class's training images.
    normalization: channel statistics of "imagenet" or "cifar", or "measured" on the training shard.
    teacher: a torchvision model, pre-trained on ImageNet, whose answers are learnt beside the
        labels, or "none".
    """

    epochs: int
    cooldown_epochs: int
    warmup_epochs: int
    batch_size: int
    lr: float
    lr_factor: float
    warmup_lr: float
    min_lr: float
    backbone_lr_factor: float
    optimizer: Literal["adamw", "sgd"]
    betas: tuple[float, float]
    momentum: float
    weight_decay: float
    decay_all: bool
    frozen: tuple[str, ...]
    drop_path: float
    label_smoothing: float
    mixup_alpha: float
    cutmix_alpha: float
    mix_prob: float
    mix_switch_prob: float
    mix_group: int
    ema_decay: float
    ema_horizon: float
    crop: Literal["resized", "shifted"]
    crop_scale: tuple[float, float]
    crop_ratio: tuple[float, float]
    shift_max: float
    interpolation: Literal["random", "bilinear", "bicubic"]
    flip_prob: float
    rand_augment: str
    erase_prob: float
    erase_area: tuple[float, float]
    erase_min_aspect: float
    train_fraction: float
    normalization: Literal["imagenet", "cifar", "measured"]
    teacher: str

    def __post_init__(self):
        for key in ("epochs", "batch_size", "mix_group"):
            _require(getattr(self, key) >= 1, key, "at least 1", getattr(self, key))
        for key in ("cooldown_epochs", "warmup_epochs"):
            _require(getattr(self, key) >= 0, key, "at least 0", getattr(self, key))
        _require(
            self.warmup_epochs < self.epochs,
            "warmup_epochs",
            "less than epochs",
            self.warmup_epochs,
        )
        for key in ("lr", "lr_factor", "backbone_lr_factor"):
            value = getattr(self, key)
            _require(_finite(value) and value > 0, key, "greater than 0", value)
        for key in ("warmup_lr", "min_lr"):
            value, peak = getattr(self, key), self.peak_lr
            _require(0 <= value <= peak, key, f"between 0 and lr * lr_factor ({peak})", value)
        for key in ("weight_decay", "mixup_alpha", "cutmix_alpha"):
            value = getattr(self, key)
            _require(_finite(value) and value >= 0, key, "at least 0", value)
        for key in ("mix_prob", "mix_switch_prob", "flip_prob", "erase_prob"):
            value = getattr(self, key)
            _require(0 <= value <= 1, key, "between 0 and 1", value)
        for key in ("drop_path", "label_smoothing", "ema_decay", "momentum", "shift_max"):
            value = getattr(self, key)
            _require(0 <= value < 1, key, "at least 0 and less than 1", value)
        _require(0 < self.ema_horizon <= 1, "ema_horizon", "in (0, 1]", self.ema_horizon)
        _require(all(0 <= b < 1 for b in self.betas), "betas", "in [0, 1)", self.betas)
        low, high = self.crop_scale
        _require(0 < low <= high <= 1, "crop_scale", "0 < low <= high <= 1", self.crop_scale)
        low, high = self.erase_area
        _require(0 < low <= high <= 1, "erase_area", "0 < low <= high <= 1", self.erase_area)
        for key in ("erase_min_aspect", "train_fraction"):
            value = getattr(self, key)
            _require(0 < value <= 1, key, "in (0, 1]", value)
        low, high = self.crop_ratio
        _require(0 < low <= high < math.inf, "crop_ratio", "0 < low <= high", self.crop_ratio)

    @property
    def peak_lr(self) -> float:
        """The learning rate at its highest."""
        return self.lr * self.lr_factor

    @property
    def total_epochs(self) -> int:
        """Epochs that are run: the cosine's and the cooldown's."""
        return self.epochs + self.cooldown_epochs


def _finite(value: float) -> bool:
    return math.isfinite(value)


def _require(holds: bool, key: str, allowed: str, value: object) -> None:
    if not holds:
        raise RecipeError(key, f"must be {allowed}, got {value}")


def learning_rate(recipe: Recipe, epoch: int, factor: float = 1.0) -> float:
    """Learning rate of a whole epoch, counted from 0, of parameters with `factor` times the peak.

    Warm-up rises linearly from warmup_lr at epoch 0; the cosine is not shifted by it (epoch 10 of
    the paper's 300 runs at 4.987e-4 for a peak of 5e-4); min_lr holds through the cooldown.
    """
    peak = factor * recipe.peak_lr
    if epoch < recipe.warmup_epochs:
        return recipe.warmup_lr + epoch * (peak - recipe.warmup_lr) / recipe.warmup_epochs
    if epoch >= recipe.epochs:
        return recipe.min_lr
    cosine = 0.5 * (1 + math.cos(math.pi * epoch / recipe.epochs))
    return recipe.min_lr + (peak - recipe.min_lr) * cosine


def asked_sha256(asked: Mapping[str, Any], seeds: Iterable[int]) -> str:
    """SHA-256 of what is asked of a row and decides its figures, and of nothing of the machine.

    asked: a value for each of _ASKED, the network's `overrides`, and the `recipe` as plain values.
    """
    recipe = dict(asked["recipe"])
    content = {key: asked[key] for key in _ASKED} | {
        # A run's own configuration has it among them.
        "overrides": {"drop_path_rate": recipe["drop_path"], **asked["overrides"]},
        "recipe": recipe,
        "seeds": sorted(seeds),
    }
    return sha256_text(json_text(content))


def averaging_decay(recipe: Recipe, total_steps: int) -> float:
    """Decay per step of the averaged weights, for a run of `total_steps` optimiser steps."""
    shortest = max(1.0, recipe.ema_horizon * total_steps)
    return min(recipe.ema_decay, 1 - 1 / shortest)
