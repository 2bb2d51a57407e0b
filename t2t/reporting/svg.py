"""Matplotlib figures as inline SVG: same bytes each time, colours from the page's CSS."""

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import matplotlib
from matplotlib.figure import Figure

# Stand-ins that the page's CSS variables replace, so that one drawing serves light and dark.
INK, MUTED, GRID = "#010101", "#020202", "#030303"
OURS, PAPER, SURFACE = "#040404", "#050505", "#060606"
_VARIABLES = {
    INK: "var(--ink)",
    MUTED: "var(--muted)",
    GRID: "var(--grid)",
    OURS: "var(--ours)",
    PAPER: "var(--paper)",
    SURFACE: "var(--surface)",
}

_STYLE: dict[Any, Any] = {
    # One pixel of layout is then one unit of the SVG.
    "figure.dpi": 72,
    "savefig.dpi": "figure",
    "svg.fonttype": "none",
    "svg.hashsalt": "t2t",
    "text.parse_math": False,
    "axes.unicode_minus": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.edgecolor": GRID,
    "axes.facecolor": "none",
    "axes.labelcolor": MUTED,
    "axes.labelsize": 10,
    "axes.titlesize": 10,
    "font.size": 10,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "text.color": INK,
    "xtick.color": GRID,
    "ytick.color": GRID,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "lines.linewidth": 1.5,
    "lines.solid_capstyle": "round",
    "figure.facecolor": "none",
}


@dataclass(frozen=True, slots=True)
class Picture:
    """An inline SVG; `title` is its caption and `row_id` the row it shows, if only one.

    `whole_width` asks for the page's whole width.
    """

    title: str
    svg: str
    row_id: str = ""
    whole_width: bool = False


@contextmanager
def page_style() -> Iterator[None]:
    """Draw with the report's style, whatever matplotlibrc the machine has."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_STYLE)
        yield


def inline_svg(figure: Figure, name: str, label: str) -> str:
    """`figure` as an `<svg>` element to put into HTML; `label` is its text alternative.

    `name` must be unique on the page: the ids inside begin with it.
    """
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg")
    text = buffer.getvalue()
    body = text[text.index(">", text.index("<svg")) + 1 : text.rindex("</svg>")]
    body = re.sub(r"<!--.*?-->|<metadata>.*?</metadata>", "", body, flags=re.DOTALL)
    body = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>", "", body, flags=re.DOTALL)
    body = _scope_ids(body, name)
    body = re.sub(r"<[^>]+>", _shorten_numbers, body)
    body = re.sub(r"font: ([^;\"]*?px) [^;\"]*", r"font: \1 var(--sans)", body)
    for colour, variable in _VARIABLES.items():
        body = body.replace(colour, variable)
    body = re.sub(r"\s*\n\s*", " ", body).strip()
    width, height = (size * 72 for size in figure.get_size_inches())
    return (
        f'<svg role="img" aria-label="{_attribute(label)}" viewBox="0 0 {width:.0f} {height:.0f}" '
        f'width="{width:.0f}" height="{height:.0f}" style="--natural: {width:.0f}px">{body}</svg>'
    )


def _scope_ids(body: str, name: str) -> str:
    used = set(re.findall(r"(?:xlink:href=\"|url\()#([^\")]+)", body))
    body = re.sub(
        r" id=\"([^\"]+)\"",
        lambda found: f' id="{name}-{found[1]}"' if found[1] in used else "",
        body,
    )
    body = re.sub(r"xlink:href=\"#", f'href="#{name}-', body)
    return body.replace("url(#", f"url(#{name}-")


def _shorten_numbers(tag: re.Match[str]) -> str:
    return re.sub(r"-?\d+\.\d{3,}", lambda number: f"{float(number[0]):.2f}", tag[0])


def _attribute(text: str) -> str:
    return text.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")
