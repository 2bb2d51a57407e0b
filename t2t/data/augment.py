"""What happens to a batch after mixing: normalisation and random erasing, given their draws."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from t2t.data.draws import Stream, generator, uniforms
from t2t.errors import ConfigError

ATTEMPTS = 10


def normalize(images: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """uint8 (B, C, H, W) to float32: (images / 255 - mean) / std, channel by channel.

    `mean` and `std` are in units of the range 0..1, one value for each channel.
    """
    shape = (1, len(mean), 1, 1)
    mean_255 = torch.tensor([255 * value for value in mean], device=images.device).view(shape)
    std_255 = torch.tensor([255 * value for value in std], device=images.device).view(shape)
    return (images.float() - mean_255) / std_255


@dataclass(frozen=True)
class ErasePolicy:
    """Random erasing (Zhong et al. 2017, arXiv:1708.04896) with per-pixel noise.

    `area` is the erased share of the image, `min_aspect` the least height / width (its inverse the
    greatest). Raises ConfigError where a value is out of range.
    """

    prob: float = 0.25
    area: tuple[float, float] = (0.02, 1 / 3)
    min_aspect: float = 0.3

    def __post_init__(self) -> None:
        if not 0 <= self.prob <= 1:
            raise ConfigError(f"erasing prob must lie between 0 and 1, not {self.prob}")
        if not 0 < self.area[0] <= self.area[1] <= 1:
            raise ConfigError(f"erasing area must be 0 < low <= high <= 1, not {self.area}")
        if not 0 < self.min_aspect <= 1:
            raise ConfigError(f"erasing min_aspect must lie in (0, 1], not {self.min_aspect}")


def draw_erasing(
    policy: ErasePolicy,
    *,
    seed: int,
    epoch: int,
    indices: ArrayLike,
    height_px: int,
    width_px: int,
) -> NDArray[np.int64]:
    """A box (top, left, height, width) in pixels for each sample: (B, 4), height 0 for none."""
    numbers = uniforms(Stream.ERASE, seed, epoch, indices, 3 + 2 * ATTEMPTS)
    tries = numbers[:, 3:].reshape(-1, 2, ATTEMPTS)
    low, high = policy.area
    areas = (low + (high - low) * tries[:, 0]) * height_px * width_px
    aspects = np.exp(math.log(policy.min_aspect) * (1 - 2 * tries[:, 1]))
    heights = np.rint(np.sqrt(areas * aspects)).astype(np.int64)
    widths = np.rint(np.sqrt(areas / aspects)).astype(np.int64)
    fits = (heights < height_px) & (widths < width_px)
    first, row = fits.argmax(1), np.arange(len(fits))
    height, width = heights[row, first], widths[row, first]
    top = (numbers[:, 1] * (height_px - height + 1)).astype(np.int64)
    left = (numbers[:, 2] * (width_px - width + 1)).astype(np.int64)
    erased = fits.any(1) & (numbers[:, 0] < policy.prob)
    return np.stack([top, left, height, width], 1) * erased[:, None]


def erase(
    images: Tensor, boxes: NDArray[np.int64], *, seed: int, epoch: int, indices: ArrayLike
) -> Tensor:
    """Fill each sample's box with standard normal noise; a new tensor (B, C, H, W).

    `images` are normalised floats. The noise is drawn on the CPU from the sample's own key, so all
    devices get the same.
    """
    erased = images.clone()
    for row, (top, left, height, width) in enumerate(boxes.tolist()):
        if height == 0 or width == 0:
            continue
        rng = generator(Stream.ERASE_NOISE, seed, epoch, int(np.asarray(indices)[row]))
        noise = rng.standard_normal((images.shape[1], height, width), dtype=np.float32)
        patch = torch.from_numpy(noise).to(device=images.device, dtype=images.dtype)
        erased[row, :, top : top + height, left : left + width] = patch
    return erased
