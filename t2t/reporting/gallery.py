"""Pictures of what is inside the analysed networks, put into the page as they are."""

import base64
import re
from dataclasses import dataclass

from t2t.reporting.collect import Report
from t2t.reporting.measurements import Analysis, Image


@dataclass(frozen=True, slots=True)
class Shown:
    """One picture: a PNG as `data:` address, its size in pixels."""

    image: Image
    address: str
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Gallery:
    """The pictures of one row that the page shows; `others` more lie in its folder."""

    row: str
    shown: tuple[Shown, ...]
    others: int


def galleries(report: Report) -> tuple[Gallery, ...]:
    """For each analysed row the tokens of every step, features and attention of its first and last
    block; all of a deep network's would make the page heavy."""
    return tuple(
        _gallery(row, analysis)
        for row, analysis in report.analyses.items()
        if analysis and analysis.images
    )


def _gallery(row: str, analysis: Analysis) -> Gallery:
    by_kind: dict[str, list[int]] = {}
    for index, image in enumerate(analysis.images):
        by_kind.setdefault(re.sub(r"_?\d*\.png$", "", image.file), []).append(index)
    chosen = [
        index
        for kind, indices in by_kind.items()
        for index in (indices if kind == "tokens" else dict.fromkeys((indices[0], indices[-1])))
    ]
    shown = tuple(_shown(analysis.images[i], analysis.pictures[i]) for i in chosen)
    return Gallery(row, shown, len(analysis.images) - len(shown))


def _shown(image: Image, png: bytes) -> Shown:
    # A PNG begins with its signature and the chunk that has its size.
    width, height = (int.from_bytes(png[start : start + 4]) for start in (16, 20))
    return Shown(image, f"data:image/png;base64,{base64.b64encode(png).decode()}", width, height)
