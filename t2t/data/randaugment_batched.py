"""RandAugment over a uint8 batch on any device, each image with its own operations and levels.

Gives what `randaugment.augment_image` gives, bit for bit where a float product and sum are rounded
one after the other (a CPU, or a GPU without compilation), else within one grey level: the
arithmetic is Pillow's, which cuts results to whole grey levels and does not round them.

Images that need the same kernel are taken out of the batch, treated together and put back. Which
those are is known from the draws, on the host, so nothing is read back from the device.
"""

import math
from collections.abc import Callable, Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from t2t.data.randaugment import OPS, Fill, OpDraws, op_argument
from t2t.data.transfer import to_device

# Takes images (R, 3, H, W) uint8 and an argument for each, (R, k); gives new images.
Kernel = Callable[[Tensor, Tensor], Tensor]


def augment_batch(images: Tensor, draws: OpDraws, fill: Fill) -> Tensor:
    """The images (B, 3, H, W) uint8 after the operations of `draws`, arrays (B, n).

    A new tensor, unless no operation is applied. `fill` colours what a geometric operation
    uncovers.
    """
    if not draws.applied.any():
        return images
    augmented = images.clone()
    for layer in range(draws.ops.shape[1]):
        for kernel, members in _groups(draws[:, layer], images.shape[-2:], fill).items():
            rows = to_device(np.array(list(members)), images.device)
            arguments = to_device(np.stack(list(members.values())), images.device)
            augmented.index_copy_(0, rows, kernel(augmented.index_select(0, rows), arguments))
    return augmented


def _groups(
    draws: OpDraws, size: torch.Size, fill: Fill
) -> dict[Kernel, dict[int, NDArray[np.generic]]]:
    """For each kernel the rows that need it, and the kernel's argument for each of those."""
    groups: dict[Kernel, dict[int, NDArray[np.generic]]] = {}
    for row in np.flatnonzero(draws.applied).tolist():
        op = OPS[draws.ops[row]]
        argument = op_argument(op, float(draws.magnitudes[row]), float(draws.signs[row])) or 0.0
        if op in _MATRICES:
            kernel = resample_bicubic if draws.bicubic[row] else resample_bilinear
            prepared = np.array([*_MATRICES[op](argument, *size), *fill], np.float64)
        elif op in _TABLES:
            kernel, prepared = look_up, _TABLES[op](argument)
        else:
            kernel, prepared = _KERNELS[op], np.array([argument], np.float32)
        groups.setdefault(kernel, {})[row] = prepared
    return groups


_GREYS = np.arange(256)


def _brightness_table(factor: float) -> NDArray[np.uint8]:
    return (np.float32(factor) * _GREYS.astype(np.float32)).clip(0, 255).astype(np.uint8)


def _solarize_table(threshold: float) -> NDArray[np.uint8]:
    return np.where(_GREYS < threshold, _GREYS, 255 - _GREYS).astype(np.uint8)


def _solarize_add_table(added: float) -> NDArray[np.uint8]:
    return np.where(_GREYS < 128, (_GREYS + added).clip(max=255), _GREYS).astype(np.uint8)


def _posterize_table(bits: float) -> NDArray[np.uint8]:
    return (_GREYS & ~(2 ** (8 - int(bits)) - 1)).astype(np.uint8)


_TABLES: Mapping[str, Callable[[float], NDArray[np.uint8]]] = {
    "Invert": lambda _: (255 - _GREYS).astype(np.uint8),
    "PosterizeIncreasing": _posterize_table,
    "SolarizeIncreasing": _solarize_table,
    "SolarizeAdd": _solarize_add_table,
    "BrightnessIncreasing": _brightness_table,
}


def look_up(images: Tensor, tables: Tensor) -> Tensor:
    """Each grey level's entry in its table: (R, 256) uint8, or (R, 3, 256) with one a channel."""
    by_channel = tables.view(len(images), -1, 256).expand(-1, images.shape[1], -1)
    return by_channel.gather(2, images.flatten(2).long()).view(images.shape)


def _stretch(images: Tensor, _: Tensor) -> Tensor:
    """Each channel's least level becomes 0, its greatest 255 (AutoContrast)."""
    channels = images.flatten(2).int()  # compiled for a CPU, torch 2.14 errs in amin of uint8
    low, high = channels.amin(2, keepdim=True), channels.amax(2, keepdim=True)
    low, spread = low.double(), (high - low).double()
    # Not 255 / spread, which torch computes as a product with the rounded inverse.
    scale = torch.full_like(spread, 255) / spread.clamp(min=1)
    greys = torch.arange(256, device=images.device, dtype=torch.float64)
    tables = (greys * scale + -low * scale).clamp(0, 255)
    return look_up(images, torch.where(spread > 0, tables, greys).to(torch.uint8))


def _equalize(images: Tensor, _: Tensor) -> Tensor:
    """Each channel's levels are spread so that its histogram is about even."""
    channels = images.flatten(2).long()
    counts = channels.new_zeros(*channels.shape[:2], 256)
    counts.scatter_add_(2, channels, torch.ones_like(channels))
    of_greatest = counts.gather(2, channels.amax(2, keepdim=True))
    step = (channels.shape[2] - of_greatest) // 255
    below = counts.cumsum(2) - counts
    tables = ((below + step // 2) // step.clamp(min=1)).clamp(max=255)
    greys = torch.arange(256, device=images.device)
    return look_up(images, torch.where(step > 0, tables, greys).to(torch.uint8))


def _blend(degenerate: Tensor, images: Tensor, factors: Tensor) -> Tensor:
    """(1 - factor) of the degenerate image and factor of the image, beyond 1 too, cut to uint8."""
    start = degenerate.float()
    factors = factors.view(-1, *[1] * (images.ndim - 1))
    return (start + factors * (images.float() - start)).clamp(0, 255).to(torch.uint8)


def _grey(images: Tensor) -> Tensor:
    """Luma (R, 1, H, W) int32 in Pillow's fixed-point form of ITU-R 601-2."""
    red, green, blue = images.int().split(1, dim=1)
    return (red * 19595 + green * 38470 + blue * 7471 + 0x8000) >> 16


def _color(images: Tensor, factors: Tensor) -> Tensor:
    return _blend(_grey(images), images, factors)


def _contrast(images: Tensor, factors: Tensor) -> Tensor:
    mean = _grey(images).flatten(1).sum(1, keepdim=True).double() / images[0, 0].numel()
    greys = torch.arange(256, device=images.device).expand(len(images), -1)
    return look_up(images, _blend((mean + 0.5).floor(), greys, factors))


def _sharpness(images: Tensor, factors: Tensor) -> Tensor:
    """Blends with the image smoothed by the 3 x 3 kernel of ones about a five; its frame stays."""
    levels = images.int()
    smooth = levels.clone()
    if min(images.shape[-2:]) >= 3:
        rows = levels[..., :-2, :] + levels[..., 1:-1, :] + levels[..., 2:, :]
        box = rows[..., :-2] + rows[..., 1:-1] + rows[..., 2:]
        inner = box + 4 * levels[..., 1:-1, 1:-1]
        smooth[..., 1:-1, 1:-1] = (2 * inner + 13) // 26
    return _blend(smooth, images, factors)


_KERNELS: Mapping[str, Kernel] = {
    "AutoContrast": _stretch,
    "Equalize": _equalize,
    "ColorIncreasing": _color,
    "ContrastIncreasing": _contrast,
    "SharpnessIncreasing": _sharpness,
}

Matrix = tuple[float, float, float, float, float, float]


def _rotation(degrees: float, height: int, width: int) -> Matrix:
    """About the image's centre, anticlockwise, with Pillow's rounding of sine and cosine."""
    angle = -math.radians(degrees % 360)
    cosine, sine = round(math.cos(angle), 15), round(math.sin(angle), 15)
    x, y = width / 2, height / 2
    return cosine, sine, cosine * -x + sine * -y + x, -sine, cosine, -sine * -x + cosine * -y + y


# From a pixel's place (x, y) in the result to (a x + b y + c, d x + e y + f) in the image.
_MATRICES: Mapping[str, Callable[[float, int, int], Matrix]] = {
    "Rotate": _rotation,
    "ShearX": lambda slope, height, width: (1, slope, 0, 0, 1, 0),
    "ShearY": lambda slope, height, width: (1, 0, 0, slope, 1, 0),
    "TranslateXRel": lambda share, height, width: (1, 0, share * width, 0, 1, 0),
    "TranslateYRel": lambda share, height, width: (1, 0, 0, 0, 1, share * height),
}


def _linear(first: Tensor, second: Tensor, share: Tensor) -> Tensor:
    return first + (second - first) * share


def _cubic(v1: Tensor, v2: Tensor, v3: Tensor, v4: Tensor, share: Tensor) -> Tensor:
    """Keys's cubic with a = -1, which is Pillow's for transforms (its resize has a = -1/2)."""
    linear, square, cube = v3 - v1, 2 * (v1 - v2) + v3 - v4, v2 - v1 - v3 + v4
    return v2 + share * (linear + share * (square + share * cube))


def resample_bilinear(images: Tensor, arguments: Tensor) -> Tensor:
    """Each image through its matrix; arguments (R, 9) float64: a to f and the fill colour."""
    return _resample(images, arguments, range(2), _linear)


def resample_bicubic(images: Tensor, arguments: Tensor) -> Tensor:
    """Each image through its matrix; arguments (R, 9) float64: a to f and the fill colour."""
    return _resample(images, arguments, range(-1, 3), _cubic)


def _resample(
    images: Tensor, arguments: Tensor, taps: range, interpolate: Callable[..., Tensor]
) -> Tensor:
    # float64, as in Pillow: a result just below a whole grey level would lose all of it.
    height, width = images.shape[-2:]
    a, b, c, d, e, f = arguments[:, :6, None, None].unbind(1)
    x = torch.arange(width, device=images.device, dtype=torch.float64) + 0.5
    y = torch.arange(height, device=images.device, dtype=torch.float64)[:, None] + 0.5
    x, y = a * x + b * y + c, d * x + e * y + f
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    x, y = x - 0.5, y - 0.5
    left, top = x.floor(), y.floor()
    x_share, y_share = (x - left)[:, None], (y - top)[:, None]
    pixels = images.flatten(2)

    def line(down: int) -> Tensor:
        row = (top.long() + down).clamp(0, height - 1) * width
        places = [row + (left.long() + right).clamp(0, width - 1) for right in taps]
        values = [
            pixels.gather(2, place.view(len(images), 1, -1).expand(-1, 3, -1)) for place in places
        ]
        return interpolate(*[value.view(images.shape).double() for value in values], x_share)

    sampled = interpolate(*[line(down) for down in taps], y_share).clamp(0, 255)
    fill = arguments[:, 6:, None, None]
    return torch.where(inside[:, None], sampled, fill).to(torch.uint8)
