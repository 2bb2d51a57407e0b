"""Data efficiency: top-1 over the share of the training images, a line for each network."""

from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from t2t.reporting.collect import Report, ReportRow
from t2t.reporting.svg import INK, MUTED, OURS, SURFACE, Picture, inline_svg, page_style

_STYLES = ((OURS, "o", "-"), (MUTED, "s", "--"), (INK, "^", ":"))


def efficiency_rows(report: Report) -> dict[str, tuple[ReportRow, ...]]:
    """By the title of a row that others train on shares of its images: those and it, by share.

    They are rows of the same network, and it is their baseline.
    """
    found: dict[str, list[ReportRow]] = {}
    for whole in report.rows:
        shares = [
            row
            for row in report.rows
            if row.info.baseline == whole.id
            and row.info.variant == whole.info.variant
            and row.info.train_fraction < whole.info.train_fraction
        ]
        if shares:
            found[whole.info.title] = [*shares, whole]
    return {
        title: tuple(sorted(rows, key=lambda row: row.info.train_fraction))
        for title, rows in found.items()
    }


def efficiency_picture(report: Report) -> Picture | None:
    """The curve of each network; null where no row was trained on a share of the images."""
    lines = {
        title: [row for row in rows if row.result]
        for title, rows in efficiency_rows(report).items()
    }
    if not any(row.info.train_fraction < 1 for rows in lines.values() for row in rows):
        return None
    with page_style():
        figure = Figure(figsize=(7.6, 4.2))
        axes = figure.subplots()
        figure.subplots_adjust(left=0.08, right=0.8, top=0.97, bottom=0.13)
        for (title, rows), (colour, marker, style) in zip(lines.items(), _STYLES, strict=False):
            found = [(100 * r.info.train_fraction, r.result.metrics) for r in rows if r.result]
            for share, metrics in found:
                ends = [metrics.top1_low_pct, metrics.top1_high_pct]
                axes.plot([share, share], ends, color=colour, linewidth=1)
            shares, tops = [s for s, _ in found], [metrics.top1_pct for _, metrics in found]
            axes.plot(
                shares, tops, marker=marker, linestyle=style, color=colour, markersize=6,
                markeredgecolor=SURFACE, markeredgewidth=0.6,
            )  # fmt: skip
            if found:
                axes.annotate(
                    title, (shares[-1], tops[-1]), xytext=(10, 0), textcoords="offset points",
                    color=colour, va="center", annotation_clip=False,
                )  # fmt: skip
        axes.set_xscale("log")
        shares = {100 * row.info.train_fraction for rows in lines.values() for row in rows}
        axes.xaxis.set_major_locator(FixedLocator(sorted(shares)))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.set_xlabel("Share of the training images, %")
        axes.set_ylabel("Top-1, %")
        axes.tick_params(length=0)
        label = f"Top-1 over the share of training images of {' and '.join(lines)}"
        return Picture(
            "Top-1 over the share of the training images", inline_svg(figure, "Eff", label)
        )
