"""Random crops as pure functions of (seed, epoch, sample index).

The crop is the one of "Going deeper with convolutions" (Szegedy et al. 2015) as torchvision draws
it: ten attempts at an area and an aspect ratio, then the largest centre crop within the ratios.
"""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from t2t.data.draws import Stream, uniforms
from t2t.errors import ConfigError

ATTEMPTS = 10
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class CropPolicy:
    """The range of a crop's share of the image's area and of its width / height.

    `interpolation` "random" takes bilinear or bicubic for each sample, evenly. Raises ConfigError
    where a value is out of range.
    """

    scale: tuple[float, float] = (0.08, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    interpolation: Literal["bilinear", "bicubic", "random"] = "random"

    def __post_init__(self) -> None:
        if not 0 < self.scale[0] <= self.scale[1] <= 1:
            raise ConfigError(f"crop scale must be 0 < low <= high <= 1, not {self.scale}")
        if not 0 < self.ratio[0] <= self.ratio[1] < math.inf:
            raise ConfigError(f"crop ratio must be 0 < low <= high, not {self.ratio}")
        if self.interpolation not in ("bilinear", "bicubic", "random"):
            raise ConfigError(
                f"interpolation must be bilinear, bicubic or random, not {self.interpolation!r}"
            )


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
