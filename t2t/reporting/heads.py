"""Head redundancy against importance: how alike a head is to its layer, and what it is worth."""

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from t2t.reporting.collect import Report
from t2t.reporting.measurements import Correlation, Redundancy
from t2t.reporting.svg import MUTED, OURS, SURFACE, Picture, inline_svg, page_style


def heads_pictures(report: Report) -> tuple[Picture, ...]:
    """One panel for each analysed row, all with the same axes: every head of every seed."""
    found = {
        row: analysis.redundancy
        for row, analysis in report.analyses.items()
        if analysis is not None
    }
    heads = [head for redundancy in found.values() for head in _heads(redundancy)]
    if not heads:
        return ()
    limits = _padded([x for x, _, _ in heads]), _padded([y for _, y, _ in heads])
    pictures = []
    with page_style():
        for number, (row, redundancy) in enumerate(found.items()):
            title = report.title_of(row)
            figure = Figure(figsize=(5.8, 4.2))
            axes = figure.subplots()
            figure.subplots_adjust(left=0.13, right=0.97, top=0.97, bottom=0.13)
            _draw(axes, redundancy)
            axes.set(xlim=limits[0], ylim=limits[1])
            label = (
                f"Heads of {title}: {redundancy.all_seeds.heads} heads, the rise of the loss when "
                f"one is removed against its likeness to the others of its layer; "
                f"{rho_text(redundancy.all_seeds.rank_correlation.loss_rise.all)}"
            )
            pictures.append(Picture(title, inline_svg(figure, f"Heads{number}", label), row))
    return tuple(pictures)


def rho_text(correlation: Correlation) -> str:
    """Spearman's rho with its interval."""
    if correlation.rho is None:
        return "no rank correlation, as one side does not vary"
    text = f"ρ = {correlation.rho:.2f}"
    if correlation.low is not None and correlation.high is not None:
        text += f" [{correlation.low:.2f}, {correlation.high:.2f}]"
    return text.replace("-", "\N{MINUS SIGN}")


def _heads(redundancy: Redundancy) -> list[tuple[float, float, bool]]:
    """Likeness, worth by loss, and whether it is of the later half, of every head."""
    return [
        (likeness, worth, index >= len(network.layers) / 2)
        for network in redundancy.networks
        for index, layer in enumerate(network.layers)
        for likeness, worth in zip(layer.head_similarity, layer.loss_rise, strict=True)
    ]


def _draw(axes: Axes, redundancy: Redundancy) -> None:
    heads = _heads(redundancy)
    for late, marker, colour in ((False, "o", MUTED), (True, "D", OURS)):
        axes.plot(
            [x for x, _, is_late in heads if is_late is late],
            [y for _, y, is_late in heads if is_late is late],
            marker, color=colour, markersize=5, markeredgecolor=SURFACE, markeredgewidth=0.6,
        )  # fmt: skip
    axes.axhline(0, color=MUTED, linewidth=0.8)
    axes.set_xlabel("Likeness: mean cosine to the layer's other heads")
    axes.set_ylabel("Worth: rise of the loss without it")
    axes.tick_params(length=0)


def _padded(values: list[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    margin = (high - low) * 0.06 or 0.1
    return low - margin, high + margin
