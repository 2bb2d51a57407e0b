"""Maps drawn as PNG files: small, the same bytes each time, readable on light and dark pages."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from t2t.data.types import Pixels
from t2t.files import commit, partial_path

# Sides of cells come near to this, in whole pixels for each value.
_CELL_PX, _GAP_PX, _FONT_PX = 80, 4, 15
# As far from white as from the report's dark ground (contrast 4.2 with both).
_INK = (123, 123, 123, 255)
_COLOURS = 128
_SCALE_PX = (96, 10)


@dataclass(frozen=True)
class Panel:
    """A table of maps, a line for each image: the image itself, then `maps[line]`.

    images: (lines, H, W, 3) uint8; maps: (lines, columns, rows, columns of a map); labels: one
    for each column; low, high: what the ends of the colour map `colours` stand for.
    """

    images: Pixels
    maps: NDArray[np.float32]
    labels: Sequence[str]
    colours: str
    low: float
    high: float


def draw(panel: Panel) -> Image.Image:
    """The panel on a transparent ground, with its labels above and its scale below."""
    rows, columns = panel.maps.shape[-2:]
    zoom = max(1, round(_CELL_PX / max(rows, columns)))
    cell = (columns * zoom, rows * zoom)
    header = _FONT_PX + 2 * _GAP_PX
    across = len(panel.labels) + 1
    size = (
        across * (cell[0] + _GAP_PX) - _GAP_PX,
        2 * header + len(panel.maps) * (cell[1] + _GAP_PX),
    )
    sheet = Image.new("RGBA", size, (*_INK[:3], 0))
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(_FONT_PX)
    for column, label in enumerate(["image", *panel.labels]):
        middle = column * (cell[0] + _GAP_PX) + cell[0] / 2
        pen.text((middle, header / 2), label, _INK, font, anchor="mm")
    for line, maps in enumerate(panel.maps):
        cells = [Image.fromarray(panel.images[line]).resize(cell, Image.Resampling.BICUBIC)]
        for values in maps:
            cells.append(_coloured(values, panel).resize(cell, Image.Resampling.NEAREST))
        for column, picture in enumerate(cells):
            at = (column * (cell[0] + _GAP_PX), header + line * (cell[1] + _GAP_PX))
            sheet.paste(picture, at)
    _draw_scale(sheet, panel, size[1] - header / 2)
    return sheet


def _coloured(values: NDArray[np.float32], panel: Panel) -> Image.Image:
    span = (panel.high - panel.low) or 1.0
    share = np.clip((values - panel.low) / span, 0, 1)
    return Image.fromarray(matplotlib.colormaps[panel.colours](share, bytes=True)[..., :3])


def _draw_scale(sheet: Image.Image, panel: Panel, middle: float) -> None:
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(_FONT_PX)
    low, high = (f"{end:.3g}" for end in (panel.low, panel.high))
    values = np.linspace(panel.low, panel.high, _SCALE_PX[0], dtype=np.float32)
    ramp = _coloured(values[None], panel)
    start = pen.textlength(low, font) + 3 * _GAP_PX
    pen.text((_GAP_PX, middle), low, _INK, font, anchor="lm")
    sheet.paste(ramp.resize(_SCALE_PX), (round(start), round(middle - _SCALE_PX[1] / 2)))
    pen.text((start + _SCALE_PX[0] + 2 * _GAP_PX, middle), high, _INK, font, anchor="lm")


def write_png(picture: Image.Image, path: Path) -> None:
    """Writes `picture` at `path` atomically, in 128 colours, without dates or names of programs."""
    content = io.BytesIO()
    few = picture.quantize(_COLOURS, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
    few.save(content, "PNG", optimize=True)
    partial = partial_path(path)
    partial.write_bytes(content.getvalue())
    commit(partial, path)
