"""From a stored image to the pixels of a batch: crop or shift, resize, flip, augmentation.

All draws are functions of (seed, epoch, sample index). The resize is torch's antialiased one for
bytes, which descends from Pillow's: it differs from that by 0.003 grey levels on average and 2 at
most, takes a quarter of the time, and, working in integers, gives the same pixels on every machine.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch.nn.functional import interpolate

from t2t.data.crops import CropPolicy, Ints, ShiftPolicy, draw_boxes, draw_shifts, resized_sides
from t2t.data.draws import Stream, uniforms
from t2t.data.randaugment import Fill, OpDraws, RandAugmentPolicy, augment_image, draw_ops
from t2t.data.types import Pixels


@dataclass(frozen=True)
class Draws:
    """What happens to each of B samples: the crop `boxes` (B, 4) as top, left, height, width in
    pixels of the stored image, or the `shifts` (B, 2) as top, left in those of the resized one,
    None for an image that stays as it is; `bicubic` and `flips` (B,); the operations of
    RandAugment."""

    boxes: Ints | None
    shifts: Ints | None
    bicubic: NDArray[np.bool_]
    flips: NDArray[np.bool_]
    ops: OpDraws | None


@dataclass(frozen=True)
class Renderer:
    """Makes the pixels of a batch from the stored ones; every reader of shards calls this one.

    `size_px` is the side of the square that comes out. Without a crop policy the stored images
    must have that size already. `fill` is the colour (0..255) that `augment` puts where it has
    moved the image away.
    """

    size_px: int
    seed: int
    crop: CropPolicy | ShiftPolicy | None
    flip_prob: float
    augment: RandAugmentPolicy | None = None
    fill: Fill = (0, 0, 0)

    def draw(self, epoch: int, indices: Ints, heights: Ints, widths: Ints) -> Draws:
        """The draws of the samples `indices` (B,), whose images have these sizes in pixels."""
        where = {"seed": self.seed, "epoch": epoch, "indices": indices}
        boxes = shifts = ops = None
        if isinstance(self.crop, CropPolicy):
            boxes = draw_boxes(self.crop, **where, heights=heights, widths=widths)
        elif self.crop is not None:
            sides, size = np.stack([heights, widths], 1), self.size_px
            shifts = draw_shifts(self.crop, **where, sides=sides, size_px=size)
        if self.augment is not None:
            ops = draw_ops(self.augment, **where)
        flips = uniforms(Stream.FLIP, self.seed, epoch, indices, 1)[:, 0] < self.flip_prob
        return Draws(boxes, shifts, self._filters(epoch, indices), flips, ops)

    def _filters(self, epoch: int, indices: Ints) -> NDArray[np.bool_]:
        """Which samples are resized bicubically, (B,)."""
        if self.crop is not None and self.crop.interpolation == "random":
            return uniforms(Stream.INTERPOLATION, self.seed, epoch, indices, 1)[:, 0] >= 0.5
        bicubic = self.crop is not None and self.crop.interpolation == "bicubic"
        return np.full(len(indices), bicubic)

    def render(self, out: Pixels, image: Pixels, draws: Draws, row: int) -> None:
        """Fill `out` (3, size_px, size_px) from the stored `image` (H, W, 3) by draw `row`."""
        if draws.boxes is not None:
            top, left, height, width = draws.boxes[row].tolist()
            view = image[top : top + height, left : left + width]
            image = resized(view, self.size_px, self.size_px, bool(draws.bicubic[row]))
        if draws.shifts is not None:
            top, left = draws.shifts[row].tolist()
            whole = self._whole(image, bool(draws.bicubic[row]))
            image = cut_out(whole, top, left, self.size_px)
        if draws.flips[row]:
            image = image[:, ::-1]
        if draws.ops is not None:
            upright = Image.fromarray(np.ascontiguousarray(image))
            image = np.asarray(augment_image(upright, draws.ops[row], self.fill))
        out[:] = image.transpose(2, 0, 1)

    def _whole(self, image: Pixels, bicubic: bool) -> Pixels:
        """The image with a short side of `size_px`; itself where it has that already."""
        if min(image.shape[:2]) == self.size_px:
            return image
        height, width = resized_sides(np.array(image.shape[:2]), self.size_px).tolist()
        return resized(image, height, width, bicubic)


def cut_out(image: Pixels, top: int, left: int, size_px: int) -> Pixels:
    """The square of `size_px` at (top, left) of an image (H, W, 3), black where it lies outside."""
    height, width, _ = image.shape
    out = np.zeros((size_px, size_px, 3), np.uint8)
    rows = slice(max(0, top), min(height, top + size_px))
    columns = slice(max(0, left), min(width, left + size_px))
    out[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left] = image[
        rows, columns
    ]
    return out


def resized(view: Pixels, height_px: int, width_px: int, bicubic: bool) -> Pixels:
    """The image (H, W, 3) at `height_px` x `width_px`, antialiased, bilinear or bicubic."""
    # A contiguous copy, made by NumPy: torch would spread so small a copy over threads of its own.
    image = torch.from_numpy(np.array(view)).permute(2, 0, 1)[None]
    kernel = "bicubic" if bicubic else "bilinear"
    made = interpolate(image, size=(height_px, width_px), mode=kernel, antialias=True)
    return made[0].permute(1, 2, 0).numpy()
