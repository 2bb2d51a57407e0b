"""Mixup and CutMix over a whole batch, as pure functions of a draw.

mixup: Zhang et al. 2018, arXiv:1710.09412. CutMix: Yun et al. 2019, arXiv:1905.04899. The partner
of image i in a batch of n is image n-1-i; one coefficient serves the batch, pixels are rounded to
uint8 (timm's `FastCollateMixup` in mode "batch", which the paper's recipe uses).
"""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from t2t.data.draws import Stream, generator
from t2t.errors import ConfigError


@dataclass(frozen=True)
class MixPolicy:
    """How often and how strongly batches are mixed; an alpha of 0 turns that kind off.

    Raises ConfigError where a value is out of range.
    """

    mixup_alpha: float = 0.8
    cutmix_alpha: float = 1.0
    switch_prob: float = 0.5
    prob: float = 1.0

    def __post_init__(self) -> None:
        for name in ("mixup_alpha", "cutmix_alpha"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ConfigError(f"{name} must be 0 or more, not {getattr(self, name)}")
        for name in ("switch_prob", "prob"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"{name} must lie between 0 and 1, not {getattr(self, name)}")


@dataclass(frozen=True)
class MixDraw:
    """What one batch gets: `lam` is the weight of each image against its partner.

    `box` is (top, bottom, left, right) in pixels, end exclusive, for CutMix alone; `lam` is then
    the share of the image outside the box.
    """

    kind: Literal["none", "mixup", "cutmix"] = "none"
    lam: float = 1.0
    box: tuple[int, int, int, int] = (0, 0, 0, 0)


def draw_mix(
    policy: MixPolicy, *, seed: int, epoch: int, step: int, height_px: int, width_px: int
) -> MixDraw:
    """The draw of one step of one epoch; nothing else decides it."""
    rng = generator(Stream.MIX, seed, epoch, step)
    mixes, switches = rng.random() < policy.prob, rng.random() < policy.switch_prob
    if not mixes or (policy.mixup_alpha == 0 and policy.cutmix_alpha == 0):
        return MixDraw()
    if policy.cutmix_alpha == 0 or (policy.mixup_alpha > 0 and not switches):
        return MixDraw("mixup", float(rng.beta(policy.mixup_alpha, policy.mixup_alpha)))
    lam = float(rng.beta(policy.cutmix_alpha, policy.cutmix_alpha))
    centre_y, centre_x = int(rng.integers(height_px)), int(rng.integers(width_px))
    return cutmix_at(lam, centre_y, centre_x, height_px, width_px)


def cutmix_at(lam: float, centre_y: int, centre_x: int, height_px: int, width_px: int) -> MixDraw:
    """The CutMix draw for a box of area share 1 - lam about a centre, clipped to the image."""
    side = math.sqrt(1 - lam)
    box_height, box_width = int(height_px * side), int(width_px * side)
    top, bottom = max(centre_y - box_height // 2, 0), centre_y + (box_height + 1) // 2
    left, right = max(centre_x - box_width // 2, 0), centre_x + (box_width + 1) // 2
    bottom, right = min(bottom, height_px), min(right, width_px)
    kept = 1.0 - (bottom - top) * (right - left) / (height_px * width_px)
    return MixDraw("cutmix", kept, (top, bottom, left, right))


def mix_images(images: Tensor, draw: MixDraw) -> Tensor:
    """Mix a uint8 batch (B, C, H, W) with its reverse; returns a new tensor unless kind is none.

    Any device, any batch size: in an odd batch the middle image is its own partner.
    """
    if draw.kind == "none":
        return images
    partners = images.flip(0)
    if draw.kind == "cutmix":
        top, bottom, left, right = draw.box
        mixed = images.clone()
        mixed[:, :, top:bottom, left:right] = partners[:, :, top:bottom, left:right]
        return mixed
    mixed = images.float() * draw.lam + partners.float() * (1 - draw.lam)
    return mixed.round_().to(torch.uint8)


def soft_targets(labels: Tensor, num_classes: int, smoothing: float, draw: MixDraw) -> Tensor:
    """Targets (B, num_classes) float32: smoothed one-hot rows, mixed as the images are.

    A smoothed row holds smoothing / num_classes everywhere and 1 - smoothing more at its label.
    """
    off = smoothing / num_classes
    rows = torch.full((len(labels), num_classes), off, device=labels.device)
    rows.scatter_(1, labels.long().view(-1, 1), 1.0 - smoothing + off)
    return rows * draw.lam + rows.flip(0) * (1.0 - draw.lam)
