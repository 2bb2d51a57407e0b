"""The report's figures over rows: learning curves, and differences to the baseline."""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from t2t.reporting.cells import signed
from t2t.reporting.collect import Report, ReportRow
from t2t.reporting.records import CurvePoint, RowResult
from t2t.reporting.svg import GRID, INK, MUTED, OURS, PAPER, Picture, inline_svg, page_style

# A panel is some 200 pixels wide: more points than this only make the page heavier.
_MAX_EPOCHS_DRAWN = 100


def curve_pictures(report: Report) -> tuple[Picture, ...]:
    """One panel for each row that was trained: top-1 over epochs above, loss below, equal axes."""
    rows = [row for row in report.run_rows if row.result and row.result.curve]
    results = {row.id: row.result for row in rows if row.result}
    points = [point for result in results.values() for point in result.curve]
    limits = _Limits(
        epoch=_padded([point.epoch for point in points]),
        top1=_padded([point.val_top1_pct for point in points]),
        loss=_padded([x for point in points for x in (point.train_loss, point.val_loss)]),
    )
    pictures = []
    with page_style():
        for number, row in enumerate(rows):
            baseline = results.get(row.info.baseline or "")
            figure = _curve_panel(results[row.id], baseline, limits)
            top1 = results[row.id].metrics.top1_pct
            label = f"Learning curves of {row.info.title}, which ends at {top1:.2f}% top-1"
            svg = inline_svg(figure, f"Curve{number}", label)
            pictures.append(Picture(row.info.title, svg, row.id))
    return tuple(pictures)


@dataclass(frozen=True, slots=True)
class _Limits:
    epoch: tuple[float, float]
    top1: tuple[float, float]
    loss: tuple[float, float]


def _padded(values: Sequence[float | None]) -> tuple[float, float]:
    known = [value for value in values if value is not None]
    low, high = min(known, default=0), max(known, default=1)
    margin = (high - low) * 0.04 or 0.5
    return low - margin, high + margin


def _curve_panel(result: RowResult, baseline: RowResult | None, limits: _Limits) -> Figure:
    figure = Figure(figsize=(3.2, 3.0))
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
    figure.subplots_adjust(left=0.15, right=0.95, top=0.93, bottom=0.13, hspace=0.3)
    if baseline:
        _draw_curve(top, baseline, lambda p: p.val_top1_pct, MUTED, style="--")
    _draw_curve(top, result, lambda p: p.val_top1_pct, OURS, band=True)
    _draw_curve(bottom, result, lambda p: p.train_loss, OURS, style=":")
    _draw_curve(bottom, result, lambda p: p.val_loss, OURS, band=True)
    top.set_title("Top-1, %", loc="left", color=MUTED, fontsize=9, pad=3)
    bottom.set_title("Loss", loc="left", color=MUTED, fontsize=9, pad=3)
    bottom.set_xlabel("Epoch", fontsize=9, labelpad=1)
    top.set(xlim=limits.epoch, ylim=limits.top1)
    bottom.set(ylim=limits.loss)
    for axes, bins in ((top, 5), (bottom, 4)):
        axes.yaxis.set_major_locator(MaxNLocator(bins))
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        axes.tick_params(length=0)
    return figure


def _draw_curve(
    axes: Axes,
    result: RowResult,
    read: Callable[[CurvePoint], float | None],
    colour: str,
    *,
    style: str = "-",
    band: bool = False,
) -> None:
    by_epoch: dict[int, list[float]] = {}
    for point in result.curve:
        value = read(point)
        if value is not None:
            by_epoch.setdefault(point.epoch, []).append(value)
    epochs = sorted(by_epoch)
    if not epochs:
        return
    stride = -(-len(epochs) // _MAX_EPOCHS_DRAWN)
    # Counted from the end, so that the final epoch is always drawn.
    epochs = epochs[::-1][::stride][::-1]
    values = [by_epoch[epoch] for epoch in epochs]
    marker = "o" if len(epochs) == 1 else ""
    means = [statistics.fmean(at_epoch) for at_epoch in values]
    axes.plot(epochs, means, color=colour, linestyle=style, marker=marker, markersize=4)
    if band:
        lows, highs = [min(x) for x in values], [max(x) for x in values]
        axes.fill_between(epochs, lows, highs, color=colour, alpha=0.18, linewidth=0)


def delta_picture(report: Report) -> Picture | None:
    """Differences to the baseline, ours with interval and the paper's; null without any."""
    rows = [
        row
        for row in report.rows
        if row.delta
        or (row.info.baseline and row.info.paper and row.info.paper.delta_pct is not None)
    ]
    groups: dict[str, list[ReportRow]] = {}
    for row in rows:
        groups.setdefault(row.info.baseline or "", []).append(row)
    if not groups:
        return None
    lines, reach = len(rows) + len(groups), _reach(rows)
    with page_style():
        figure = Figure(figsize=(9.6, 0.34 * lines + 0.9))
        axes = figure.subplots()
        inch = 1 / figure.get_figheight()
        figure.subplots_adjust(right=0.985, top=1 - 0.3 * inch, bottom=0.5 * inch)
        height = 0
        ticks = []
        for baseline, members in groups.items():
            ticks.append((height, f"against {report.title_of(baseline)}", MUTED))
            for row in members:
                height -= 1
                ticks.append((height, row.info.title, INK))
                _draw_delta(axes, row, height, reach)
            height -= 1
        _finish_delta_axes(axes, ticks)
        renderer = FigureCanvasAgg(figure).get_renderer()
        widths = [label.get_window_extent(renderer).width for label in axes.get_yticklabels()]
        figure.subplots_adjust(left=min(0.6, (max(widths) + 10) / figure.bbox.width))
        label = f"Differences to the baseline of {len(rows)} rows; the table gives the figures"
        return Picture("Difference to the baseline", inline_svg(figure, "Delta", label))


def _reach(rows: Sequence[ReportRow]) -> float:
    """How far from zero, in points, the axis goes: a row that failed must not flatten the rest."""
    ours = sorted(abs(row.delta.mean_pct) for row in rows if row.delta)
    typical = ours[int(0.8 * (len(ours) - 1))] if ours else 0.0
    papers = [abs(row.info.paper.delta_pct or 0.0) for row in rows if row.info.paper]
    return 1.25 * max(2.5 * typical, *papers, 2.0)


def _draw_delta(axes: Axes, row: ReportRow, height: float, reach: float) -> None:
    if row.delta:
        mean, low, high = row.delta.mean_pct, row.delta.low_pct, row.delta.high_pct
        if low is not None and high is not None:
            ends = [max(-reach, min(reach, end)) for end in (low, high)]
            axes.plot(ends, [height + 0.12] * 2, color=OURS, linewidth=2)
        if abs(mean) > reach:
            edge, marker, align = (reach, ">", "right") if mean > 0 else (-reach, "<", "left")
            axes.plot([edge], [height + 0.12], marker, color=OURS, markersize=6)
            axes.text(
                edge * 0.96, height - 0.22, signed(mean, 1),
                ha=align, va="center", color=OURS, fontsize=9,
            )  # fmt: skip
        else:
            axes.plot([mean], [height + 0.12], "o", color=OURS, markersize=6)
    paper = row.info.paper
    if paper and paper.delta_pct is not None:
        axes.plot([paper.delta_pct], [height - 0.18], "D", color=PAPER, markersize=5)


def _finish_delta_axes(axes: Axes, ticks: Sequence[tuple[float, str, str]]) -> None:
    axes.axvline(0, color=MUTED, linewidth=1)
    axes.grid(axis="y", visible=False)
    axes.set_ylim(ticks[-1][0] - 0.7, 0.6)
    axes.set_yticks([height for height, _, _ in ticks], [text for _, text, _ in ticks])
    for label, (height, _, colour) in zip(axes.get_yticklabels(), ticks, strict=True):
        label.set_color(colour)
        if colour == MUTED:
            axes.axhline(height, color=GRID, linewidth=0.6, linestyle=":")
    axes.set_xlabel("Points of top-1")
    axes.tick_params(length=0, labeltop=True)
    axes.spines["left"].set_visible(False)
