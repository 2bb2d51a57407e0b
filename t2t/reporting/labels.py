"""Labels of scattered points that do not cover one another."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

from t2t.reporting.svg import MUTED

_POINT_PIXELS = 5
# Browsers' fonts are a little larger than the one that is measured here.
_MARGIN_PIXELS = 1.5
_LEADER_FROM_PIXELS = 16
_CROWDED_PIXELS = 90
_RADII_PIXELS = (8, 16, 26, 38, 52, 70, 90, 115, 145, 180)
# The longer leaders of more points than these would cross one another.
FEW_POINTS = 12
_RADII_OF_MANY_PIXELS = (8, 16, 26, 38)
_ANGLES = tuple(math.radians(degrees) for degrees in (0, 180, 90, 270, 45, 315, 135, 225))


@dataclass(frozen=True, slots=True)
class Point:
    """A labelled point in data units; `spread` is the half-height of its error bar."""

    title: str
    x: float
    y: float
    spread: float = 0.0


def label_points(figure: Figure, axes: Axes, points: Sequence[Point]) -> None:
    """Write each title at the nearest free place, joined by a line where that is far.

    Fixes the axes' limits: places are found in pixels. Greedy, the most crowded point first. A
    point without a free place has no title; for one of many, that place must be near.
    """
    radii = _RADII_PIXELS if len(points) <= FEW_POINTS else _RADII_OF_MANY_PIXELS
    renderer = FigureCanvasAgg(figure).get_renderer()
    axes.set(xlim=axes.get_xlim(), ylim=axes.get_ylim())
    inside = axes.get_window_extent(renderer)
    taken = [_around_point(axes, point) for point in points]
    for point in sorted(points, key=lambda point: _crowding_key(axes, point, taken)):
        text = axes.annotate(
            point.title,
            (point.x, point.y),
            xytext=(0, 0),
            textcoords="offset points",
            ha="center",
            va="center",
            fontsize=9,
        )
        size = text.get_window_extent(renderer).padded(_MARGIN_PIXELS)
        x, y = axes.transData.transform((point.x, point.y)).tolist()
        box = _free_box(x, y, size.width, size.height, inside, taken, radii)
        if box is None:
            text.remove()
            continue
        taken.append(box)
        text.set_position(((box.x0 + box.x1) / 2 - x, (box.y0 + box.y1) / 2 - y))
        _draw_leader(axes, x, y, box)


def _crowding_key(axes: Axes, point: Point, taken: Sequence[Bbox]) -> tuple[int, float, float]:
    x, y = axes.transData.transform((point.x, point.y)).tolist()
    near = sum(
        math.hypot((box.x0 + box.x1) / 2 - x, (box.y0 + box.y1) / 2 - y) < _CROWDED_PIXELS
        for box in taken
    )
    return -near, x, y


def _around_point(axes: Axes, point: Point) -> Bbox:
    x, low = axes.transData.transform((point.x, point.y - point.spread))
    high = axes.transData.transform((point.x, point.y + point.spread))[1]
    return Bbox.from_extents(
        x - _POINT_PIXELS, low - _POINT_PIXELS, x + _POINT_PIXELS, high + _POINT_PIXELS
    )


def _free_box(
    x: float,
    y: float,
    width: float,
    height: float,
    inside: Bbox,
    taken: Sequence[Bbox],
    radii: Sequence[float],
) -> Bbox | None:
    for radius in radii:
        for angle in _ANGLES:
            along_x, along_y = math.cos(angle), math.sin(angle)
            centre_x = x + along_x * (radius + width / 2)
            centre_y = y + along_y * (radius + height / 2)
            box = Bbox.from_bounds(centre_x - width / 2, centre_y - height / 2, width, height)
            within = inside.x0 <= box.x0 and box.x1 <= inside.x1
            within = within and inside.y0 <= box.y0 and box.y1 <= inside.y1
            if within and not any(box.overlaps(other) for other in taken):
                return box
    return None


def _draw_leader(axes: Axes, x: float, y: float, box: Bbox) -> None:
    end_x = min(max(x, box.x0), box.x1)
    end_y = min(max(y, box.y0), box.y1)
    if math.hypot(end_x - x, end_y - y) < _LEADER_FROM_PIXELS:
        return
    ends = axes.transData.inverted().transform([(x, y), (end_x, end_y)])
    axes.plot(ends[:, 0], ends[:, 1], color=MUTED, linewidth=0.6, zorder=1)
