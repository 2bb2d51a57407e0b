"""What happens to a batch after mixing: normalisation and random erasing, given their draws.

The noise of an erased pixel is a hash of (seed, epoch, sample, channel, row, column), taken where
the images are: a GPU gives what a CPU gives, to the rounding of a logarithm and a cosine.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from t2t.data.draws import GOLDEN, MULTIPLY_1, MULTIPLY_2, Stream, keys, uniforms
from t2t.data.transfer import to_device
from t2t.errors import ConfigError

ATTEMPTS = 10
# Rows and columns of an image take this many bits each in the counter of its noise.
_SIDE_BITS = 20


# Of ImageNet's training images, R, G, B, as the paper's code and every released network have them.
# timm has them too, at seconds of import in each process.
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
# Of CIFAR-10's, as the paper's transfer code has them, for CIFAR-100 too. The deviations are means
# over the images of each one's own; over all pixels they would be 0.247, 0.243 and 0.262.
CIFAR_MEAN, CIFAR_STD = (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)


def normalize(images: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """uint8 (B, C, H, W) to float32: (images / 255 - mean) / std, channel by channel.

    `mean` and `std` are in units of the range 0..1, one value for each channel.
    """
    scaled = 255 * torch.tensor([mean, std], dtype=torch.float64)
    mean_255, std_255 = to_device(scaled.float(), images.device).view(2, 1, -1, 1, 1)
    return images.float().sub_(mean_255).div_(std_255)


@dataclass(frozen=True)
class ErasePolicy:
    """Random erasing (Zhong et al. 2017, arXiv:1708.04896) with per-pixel noise.

    `area` is the erased share of the image, `min_aspect` the least height / width (its inverse the
    greatest). Raises ConfigError where a value is out of range.
    """

    prob: float
    area: tuple[float, float]
    min_aspect: float

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
    """Fill each sample's box (top, left, height, width) with standard normal noise.

    `images` (B, C, H, W) are normalised floats; a new tensor unless no box has any pixel. Costs
    what the erased pixels cost, for how many those are is known on the host.
    """
    areas = boxes[:, 2] * boxes[:, 3]
    rows = np.flatnonzero(areas)
    if not len(rows):
        return images
    row_keys = keys(Stream.ERASE_NOISE, seed, epoch, np.asarray(indices)[rows])
    table = np.column_stack([rows, boxes[rows], row_keys.view(np.int64)])
    pixels = _pixels(to_device(table, images.device), int(areas.sum()))
    row, y, x, key = (column[:, None] for column in pixels)
    channel = torch.arange(images.shape[1], device=images.device)
    noise = normal_noise(key, channel, y, x).to(images.dtype)
    return images.index_put((row, channel, y, x), noise)


def _pixels(table: Tensor, count: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Row, y, x and key of each of the `count` pixels of some boxes.

    table: for each box its row, top, left, height, width and key.
    """
    row, top, left, height, width, key = table.unbind(1)
    areas = height * width
    box = torch.repeat_interleave(areas, output_size=count)
    place = torch.arange(count, device=table.device) - (areas.cumsum(0) - areas)[box]
    y, x = top[box] + place // width[box], left[box] + place % width[box]
    return row[box], y, x, key[box]


def normal_noise(key: Tensor, channel: Tensor, y: Tensor, x: Tensor) -> Tensor:
    """A standard normal number, float32, for each pixel of a sample; the arguments broadcast.

    All int64; key: the sample's, its 64 bits read as signed. The word behind a number is the one
    that `draws.uniforms` would take at the counter channel * 2^40 + y * 2^20 + x; its halves go
    through Box and Muller's transform. Always finite: no magnitude exceeds 6.8.
    """
    golden = _signed(GOLDEN)
    place = key + ((y << _SIDE_BITS | x) + 1) * golden
    word = _mix64(place + (channel << 2 * _SIDE_BITS) * golden)
    high, low = word >> 32 & 0xFFFFFFFF, word & 0xFFFFFFFF
    radius = torch.sqrt(-2 * torch.log((high.float() + 0.5) * 2.0**-32))
    return radius * torch.cos(low.float() * (2 * math.pi * 2.0**-32))


def _mix64(words: Tensor) -> Tensor:
    """`draws.mix64` on the 64 bits of int64 words."""
    words = (words ^ _shifted(words, 30)) * _signed(MULTIPLY_1)
    words = (words ^ _shifted(words, 27)) * _signed(MULTIPLY_2)
    return words ^ _shifted(words, 31)


def _shifted(words: Tensor, bits: int) -> Tensor:
    """Shifted to the right with zeros, where the shift of a signed word copies its sign."""
    return (words >> bits) & ((1 << (64 - bits)) - 1)


def _signed(word: np.uint64) -> int:
    return int(word.astype(np.int64))
