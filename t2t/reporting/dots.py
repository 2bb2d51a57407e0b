"""Transfers as dots: ours with its interval, and the paper's."""

from matplotlib.figure import Figure

from t2t.reporting.collect import Report
from t2t.reporting.svg import OURS, PAPER, Picture, inline_svg, page_style


def transfer_picture(report: Report) -> Picture | None:
    """Top-1 of every transfer that was run, or that the paper has; null where there is none."""
    shown = [t for t in report.transfers if t.result or t.info.paper]
    if not any(transfer.result for transfer in shown):
        return None
    with page_style():
        figure = Figure(figsize=(9.6, 0.36 * len(shown) + 0.9))
        axes = figure.subplots()
        inch = 1 / figure.get_figheight()
        figure.subplots_adjust(left=0.34, right=0.985, top=1 - 0.3 * inch, bottom=0.5 * inch)
        for height, transfer in enumerate(reversed(shown)):
            if transfer.result:
                metrics = transfer.result.metrics
                ends = [metrics.top1_low_pct, metrics.top1_high_pct]
                axes.plot(ends, [height + 0.1] * 2, color=OURS, linewidth=2)
                axes.plot([metrics.top1_pct], [height + 0.1], "o", color=OURS, markersize=6)
            if transfer.info.paper:
                top1 = transfer.info.paper.top1_pct
                axes.plot([top1], [height - 0.18], "D", color=PAPER, markersize=5)
        names = [f"{t.info.title}" for t in reversed(shown)]
        axes.set_yticks(range(len(shown)), names)
        axes.set_ylim(-0.7, len(shown) - 0.3)
        axes.set_xlabel("Top-1, %")
        axes.tick_params(length=0)
        axes.grid(axis="y", visible=False)
        axes.spines["left"].set_visible(False)
        label = f"Top-1 of {len(shown)} transfers; the table gives the figures"
        return Picture("Top-1 by transfer", inline_svg(figure, "Transfer", label), whole_width=True)
