"""Random crops as pure functions of (seed, epoch, sample index).

A crop is the one of "Going deeper with convolutions" (Szegedy et al. 2015) as torchvision draws
it: ten attempts at an area and an aspect ratio, then the largest centre crop within the ratios. Or
the whole image is shifted: torchvision's Resize, then its RandomCrop with padding.
"""

import math
import typing
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from t2t.data.draws import Stream, uniforms
from t2t.errors import ConfigError

ATTEMPTS = 10
Ints = NDArray[np.int64]
Interpolation = Literal["random", "bilinear", "bicubic"]


@dataclass(frozen=True)
class CropPolicy:
    """The range of a crop's share of the image's area and of its width / height.

    `interpolation` "random" takes bilinear or bicubic for each sample, evenly. Raises ConfigError
    where a value is out of range.
    """

    scale: tuple[float, float] = (0.08, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    interpolation: Interpolation = "random"

    def __post_init__(self) -> None:
        if not 0 < self.scale[0] <= self.scale[1] <= 1:
            raise ConfigError(f"crop scale must be 0 < low <= high <= 1, not {self.scale}")
        if not 0 < self.ratio[0] <= self.ratio[1] < math.inf:
            raise ConfigError(f"crop ratio must be 0 < low <= high, not {self.ratio}")
        _expect_interpolation(self.interpolation)


@dataclass(frozen=True)
class ShiftPolicy:
    """Images resized to a short side of the size wanted, and cut out at a random place that may
    lie up to `share` of a side beyond each edge; black is outside.

    `interpolation` as in CropPolicy. Raises ConfigError where a value is out of range.
    """

    share: float
    interpolation: Interpolation = "random"

    def __post_init__(self) -> None:
        if not 0 <= self.share < 1:
            raise ConfigError(f"shift share must be at least 0 and less than 1, not {self.share}")
        _expect_interpolation(self.interpolation)


def _expect_interpolation(value: str) -> None:
    if value not in typing.get_args(Interpolation):
        raise ConfigError(f"interpolation must be bilinear, bicubic or random, not {value!r}")


def draw_boxes(
    policy: CropPolicy, *, seed: int, epoch: int, indices: ArrayLike, heights: Ints, widths: Ints
) -> Ints:
    """A crop (top, left, height, width) in pixels for each sample: (B, 4), within its image."""
    numbers = uniforms(Stream.CROP, seed, epoch, indices, 2 + 2 * ATTEMPTS)
    tries = numbers[:, 2:].reshape(-1, 2, ATTEMPTS)
    (low, high), log_ratio = policy.scale, np.log(policy.ratio)
    areas = (low + (high - low) * tries[:, 0]) * (heights * widths)[:, None]
    ratios = np.exp(log_ratio[0] + (log_ratio[1] - log_ratio[0]) * tries[:, 1])
    crop_widths = np.rint(np.sqrt(areas * ratios)).astype(np.int64)
    crop_heights = np.rint(np.sqrt(areas / ratios)).astype(np.int64)
    fits = (crop_widths > 0) & (crop_widths <= widths[:, None])
    fits &= (crop_heights > 0) & (crop_heights <= heights[:, None])
    first, row = fits.argmax(1), np.arange(len(fits))
    height, width = crop_heights[row, first], crop_widths[row, first]
    top = (numbers[:, 0] * (heights - height + 1)).astype(np.int64)
    left = (numbers[:, 1] * (widths - width + 1)).astype(np.int64)
    drawn = np.stack([top, left, height, width], 1)
    return np.where(fits.any(1)[:, None], drawn, _central_boxes(policy, heights, widths))


def _central_boxes(policy: CropPolicy, heights: Ints, widths: Ints) -> Ints:
    low, high = policy.ratio
    height = np.minimum(heights, np.rint(widths / low).astype(np.int64))
    width = np.minimum(widths, np.rint(heights * high).astype(np.int64))
    return np.stack([(heights - height) // 2, (widths - width) // 2, height, width], 1)


def resized_sides(sides: Ints, size_px: int) -> Ints:
    """Height and width (..., 2) of images once the shorter is `size_px`, as Resize rounds them."""
    return size_px * sides // sides.min(-1, keepdims=True)


def draw_shifts(
    policy: ShiftPolicy,
    *,
    seed: int,
    epoch: int,
    indices: ArrayLike,
    sides: Ints,
    size_px: int,
) -> Ints:
    """Where the square of `size_px` is cut out of each resized image: top, left in pixels, (B, 2).

    sides: heights and widths (B, 2) of the images as stored. All places from `share` of the square
    beyond the top or left edge to as much beyond the other are equally likely.
    """
    numbers = uniforms(Stream.SHIFT, seed, epoch, indices, 2)
    beyond = round(policy.share * size_px)
    room = resized_sides(sides, size_px) - size_px
    return (numbers * (room + 2 * beyond + 1)).astype(np.int64) - beyond
