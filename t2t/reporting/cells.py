"""Figures as they are shown, and the columns of the tables."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from t2t.reporting.collect import ReportRow
from t2t.reporting.compare import Estimate
from t2t.reporting.infos import PaperFigures
from t2t.reporting.records import RowMetrics
from t2t.reporting.transfers import TransferRow

MINUS = "\N{MINUS SIGN}"


@dataclass(frozen=True, slots=True)
class Cell:
    """One formatted figure; `value` sorts it, null where there is no figure."""

    text: str = ""
    value: float | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Column:
    """One column of figures under a group heading; `cell` formats a row's, or a
    transfer's, figure."""

    key: str
    group: str
    heading: str
    cell: Callable[[Any], Cell]


def significant(value: float) -> str:
    """A positive number with at least three significant digits and no exponent."""
    return f"{value:.{max(0, 2 - math.floor(math.log10(value)))}f}"


def signed(value: float, decimals: int) -> str:
    """A number that always shows its sign, with a true minus; zero has none."""
    text = f"{abs(value):.{decimals}f}"
    if float(text) == 0:
        return text
    return (MINUS if value < 0 else "+") + text


def seeds_text(count: int) -> str:
    """`1 seed` or `3 seeds`."""
    return f"{count} seed{'' if count == 1 else 's'}"


def interval_text(difference: Estimate) -> str:
    """The bracketed interval of a difference, or how many seeds it rests on where it has none."""
    return _bracketed(difference, lambda value: signed(value, 2))


def _bracketed(estimate: Estimate, show: Callable[[float], str]) -> str:
    if estimate.low_pct is None or estimate.high_pct is None:
        return seeds_text(estimate.seeds)
    over = "" if estimate.over == "seeds" else f" over {estimate.over}"
    return f"[{show(estimate.low_pct)}, {show(estimate.high_pct)}]{over}"


def interval_cell(estimate: Estimate) -> Cell:
    """Top-1 with its interval."""
    detail = _bracketed(estimate, "{:.2f}".format)
    return Cell(f"{estimate.mean_pct:.2f}", estimate.mean_pct, detail)


def difference_cell(estimate: Estimate | None) -> Cell:
    """A difference in points with its interval; empty without it."""
    if estimate is None:
        return Cell()
    return Cell(signed(estimate.mean_pct, 2), estimate.mean_pct, interval_text(estimate))


def gap_cell(ours: float | None, paper: float | None, decimals: int) -> Cell:
    """Ours minus the paper's; empty where one of them is absent."""
    if ours is None or paper is None:
        return Cell()
    return Cell(signed(ours - paper, decimals), ours - paper)


def _top1_interval(row: ReportRow | TransferRow) -> Cell:
    return interval_cell(row.result.metrics.top1) if row.result else Cell("not run")


def _top1(row: ReportRow) -> Cell:
    if row.result is None:
        return Cell("not run")
    metrics = row.result.metrics
    text = f"{metrics.top1_pct:.2f}"
    if metrics.seeds > 1:
        text += f" ± {metrics.top1_std_pct or 0:.2f}"
    return Cell(text, metrics.top1_pct, seeds_text(metrics.seeds))


def _delta(row: ReportRow) -> Cell:
    return difference_cell(row.delta)


def _ours(read: Callable[[RowMetrics], float], show: Callable[[float], str]):
    def cell(row: ReportRow) -> Cell:
        if row.result is None:
            return Cell()
        value = read(row.result.metrics)
        return Cell(show(value), value)

    return cell


def _papers(read: Callable[[PaperFigures], float | None], show: Callable[[float], str]):
    def cell(row: ReportRow) -> Cell:
        value = read(row.info.paper) if row.info.paper else None
        return Cell() if value is None else Cell(show(value), value)

    return cell


def _gap(
    ours: Callable[[RowMetrics], float],
    paper: Callable[[PaperFigures], float],
    decimals: int,
):
    def cell(row: ReportRow) -> Cell:
        if row.result is None or row.info.paper is None:
            return Cell()
        return gap_cell(ours(row.result.metrics), paper(row.info.paper), decimals)

    return cell


def _delta_gap(row: ReportRow) -> Cell:
    paper = row.info.paper.delta_pct if row.info.paper else None
    return gap_cell(row.delta.mean_pct if row.delta else None, paper, 2)


_TOP1, _DELTA, _PARAMS, _MACS = "Top-1, %", "Δ to baseline, points", "Parameters, M", "MACs, G"
_GAP = "ours − paper"
TOP1_COLUMN = Column("top1_pct", _TOP1, "ours", _top1_interval)
_PAPER_TOP1 = Column(
    "paper_top1_pct", _TOP1, "paper", _papers(lambda p: p.top1_pct, "{:.1f}".format)
)
_TOP1_GAP = Column("top1_gap_pct", _TOP1, _GAP, _gap(lambda m: m.top1_pct, lambda p: p.top1_pct, 2))
_DELTAS = (
    Column("delta_pct", _DELTA, "ours", _delta),
    Column(
        "paper_delta_pct",
        _DELTA,
        "paper",
        _papers(lambda p: p.delta_pct, lambda value: signed(value, 1)),
    ),
)
_PARAMETERS = (
    Column("params_m", _PARAMS, "ours", _ours(lambda m: m.params_m, significant)),
    Column("paper_params_m", _PARAMS, "paper", _papers(lambda p: p.params_m, str)),
)
_PRODUCTS = (
    Column("macs_g", _MACS, "ours", _ours(lambda m: m.macs_g, significant)),
    Column("paper_macs_g", _MACS, "paper", _papers(lambda p: p.macs_g, str)),
)


def columns() -> tuple[Column, ...]:
    """The columns of the table of all rows, in order."""
    raw = _ours(lambda m: m.top1_raw_pct, "{:.2f}".format)
    return (
        Column("top1_pct", _TOP1, "ours", _top1),
        Column("top1_raw_pct", _TOP1, "ours, no EMA", raw),
        _PAPER_TOP1,
        *_DELTAS,
        *_PARAMETERS,
        *_PRODUCTS,
    )


def paper_columns() -> tuple[Column, ...]:
    """The columns of the paper's tables: ours with its interval, the paper's, the difference."""
    return (
        TOP1_COLUMN,
        _PAPER_TOP1,
        _TOP1_GAP,
        *_DELTAS,
        Column("delta_gap_pct", _DELTA, _GAP, _delta_gap),
        *_PARAMETERS,
        Column("params_gap_m", _PARAMS, _GAP, _gap(lambda m: m.params_m, lambda p: p.params_m, 1)),
        *_PRODUCTS,
        Column("macs_gap_g", _MACS, _GAP, _gap(lambda m: m.macs_g, lambda p: p.macs_g, 1)),
    )


def column_groups(shown: tuple[Column, ...]) -> list[tuple[str, int]]:
    """The group headings over `shown`, each with how many columns it spans."""
    return [
        (group, sum(column.group == group for column in shown))
        for group in dict.fromkeys(column.group for column in shown)
    ]
