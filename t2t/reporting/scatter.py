"""Accuracy against cost: parameters, MACs, and what was measured on a device (Figure 1)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator

from t2t.reporting.collect import Report, ReportRow
from t2t.reporting.infos import PaperFigures
from t2t.reporting.labels import FEW_POINTS, Point, label_points
from t2t.reporting.measurements import RowCost
from t2t.reporting.records import RowMetrics
from t2t.reporting.svg import OURS, PAPER, SURFACE, Picture, inline_svg, page_style


@dataclass(frozen=True, slots=True)
class _Series:
    """Points of one origin."""

    points: Sequence[Point]
    colour: str
    marker: str


def cost_pictures(report: Report) -> tuple[Picture, ...]:
    """Top-1 against each cost.

    At a scale that checks the paper's claims, ours and the paper's share a panel, as in its Figure
    1; elsewhere, with other data and shrunk networks, each has its own.
    """
    panels: list[tuple[str, str, list[_Series]]] = []
    for axis, ours, papers in (
        ("Parameters, M", lambda m: m.params_m, lambda p: p.params_m),
        ("MACs, G", lambda m: m.macs_g, lambda p: p.macs_g),
    ):
        title = f"top-1 against {axis.partition(',')[0].replace('Parameters', 'parameters')}"
        series = [_ours(report, ours), _papers(report, papers)]
        if report.scale.checks_claims:
            panels.append((f"Ours and paper: {title}", axis, series))
        else:
            panels.append((f"Ours: {title}", axis, series[:1]))
            panels.append((f"Paper: {title}", axis, series[1:]))
    panels.sort(key=lambda panel: panel[0].startswith("Paper"))
    if report.costs:
        device = report.costs.device
        for axis, read in (
            ("Latency of one image, ms", lambda cost: cost.latency_ms),
            ("Throughput, images/s", lambda cost: cost.images_per_s),
        ):
            title = f"Ours: top-1 against {axis.partition(',')[0].lower()}, on {device}"
            panels.append((title, axis, [_measured(report, read)]))
    return tuple(_pictures(panels))


def _pictures(panels: Sequence[tuple[str, str, Sequence[_Series]]]):
    with page_style():
        for number, (title, axis, series) in enumerate(panels):
            points = [point for each in series for point in each.points]
            if points:
                figure = _panel(series, points, axis)
                label = f"{title}, {len(points)} points; the table gives the figures"
                svg = inline_svg(figure, f"Cost{number}", label)
                # More labels need the page's whole width to stand clear of one another.
                yield Picture(title, svg, whole_width=len(points) > FEW_POINTS)


def _ours(report: Report, read: Callable[[RowMetrics], float]) -> _Series:
    points = [
        Point(row.info.title, read(row.result.metrics), *_accuracy(row))
        for row in report.run_rows
        if row.result
    ]
    return _Series(points, OURS, "o")


def _papers(report: Report, read: Callable[[PaperFigures], float]) -> _Series:
    points = [
        Point(row.info.title, read(row.info.paper), row.info.paper.top1_pct)
        for row in report.rows
        if row.info.paper
    ]
    return _Series(points, PAPER, "D")


def _measured(report: Report, read: Callable[[RowCost], float]) -> _Series:
    points = [
        Point(row.info.title, read(row.cost), *_accuracy(row))
        for row in report.run_rows
        if row.cost
    ]
    return _Series(points, OURS, "o")


def _accuracy(row: ReportRow) -> tuple[float, float]:
    """Top-1 in % and its spread, of a row that was run."""
    assert row.result is not None
    return row.result.metrics.top1_pct, row.result.metrics.top1_std_pct or 0.0


def _panel(series: Sequence[_Series], points: Sequence[Point], axis: str) -> Figure:
    figure = Figure(figsize=(7.6, 4.6) if len(points) <= FEW_POINTS else (13.5, 7.2))
    axes = figure.subplots()
    width, height = figure.get_size_inches()
    figure.subplots_adjust(left=0.6 / width, right=0.99, top=0.98, bottom=0.5 / height)
    _scale_x(axes, [point.x for point in points])
    for each in series:
        axes.errorbar(
            [point.x for point in each.points],
            [point.y for point in each.points],
            yerr=[point.spread for point in each.points],
            fmt=each.marker,
            markersize=5.5,
            color=each.colour,
            elinewidth=1,
            markeredgecolor=SURFACE,
            markeredgewidth=0.6,
        )
    axes.margins(0.1, 0.1)
    axes.set_xlabel(axis)
    axes.set_ylabel("Top-1, %")
    axes.tick_params(length=0)
    label_points(figure, axes, points)
    return figure


def _scale_x(axes: Axes, x: Sequence[float]) -> None:
    if max(x) > 4 * min(x):
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_minor_formatter(NullFormatter())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
