"""What a report shows: the rows asked for, joined with the results found for them."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from t2t.errors import ConfigError
from t2t.reporting.compare import Delta, paired_delta
from t2t.reporting.records import RowResult, read_result


@dataclass(frozen=True, slots=True)
class PaperFigures:
    """The paper's figures of one row, as printed; `delta_pct` is null where it prints none."""

    table: str
    block: str
    top1_pct: float
    params_m: float
    macs_g: float
    delta_pct: float | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Ancestor:
    """The row `row` whose runs another row's need: their weights to go on from, or as teachers."""

    row: str
    role: Literal["weights", "teacher"]


@dataclass(frozen=True, slots=True)
class RowInfo:
    """One row of the table; `baseline` is the id of the row its difference is taken from."""

    title: str
    paper: PaperFigures | None = None
    baseline: str | None = None
    ancestor: Ancestor | None = None


@dataclass(frozen=True, slots=True)
class ScaleInfo:
    """The scale of the runs; `checks_claims` says whether it can test the paper's claims."""

    name: str
    description: str
    checks_claims: bool


@dataclass(frozen=True, slots=True)
class ReportRow:
    """One row as reported; `result` is null where it was not run."""

    id: str
    info: RowInfo
    result: RowResult | None
    delta: Delta | None

    @property
    def command(self) -> str:
        """The command that produces this row's results."""
        stage = "evaluate_derived" if self.info.ancestor else "evaluate"
        return f"dvc repro {stage}@{self.id}"


@dataclass(frozen=True, slots=True)
class Report:
    """Everything a report shows, rows in the order of the parameters."""

    scale: ScaleInfo
    rows: tuple[ReportRow, ...]

    @property
    def run_rows(self) -> tuple[ReportRow, ...]:
        """The rows that have results."""
        return tuple(row for row in self.rows if row.result)

    def title_of(self, row_id: str) -> str:
        """The title of the row `row_id`."""
        return next(row.info.title for row in self.rows if row.id == row_id)

    def blocks(self) -> tuple[tuple[str, tuple[ReportRow, ...]], ...]:
        """Rows gathered by the paper's table and, inside it, block, in order of first appearance;
        rows that are not in the paper come last."""
        papers = [row.info.paper for row in self.rows]
        tables = list(dict.fromkeys(paper.table for paper in papers if paper))

        def place(row: ReportRow) -> int:
            return tables.index(row.info.paper.table) if row.info.paper else len(tables)

        found: dict[str, list[ReportRow]] = {}
        for row in sorted(self.rows, key=place):
            found.setdefault(block_label(row.info), []).append(row)
        return tuple((label, tuple(rows)) for label, rows in found.items())


def block_label(info: RowInfo) -> str:
    """Where the paper prints this row, e.g. `Table 7, T2T module`."""
    if info.paper is None:
        return "Not in the paper"
    return ", ".join(part for part in (f"Table {info.paper.table}", info.paper.block) if part)


def collect(
    rows: Mapping[str, RowInfo],
    scale: ScaleInfo,
    *,
    metrics_dir: Path,
    evaluations_dir: Path,
    curves_dir: Path,
) -> Report:
    """Join `rows` (in their order) with `<row>.json` and the two `<row>.csv` of each.

    A row without a metrics file counts as not run. Files of other rows are never read.
    Raises ConfigError for a baseline or an ancestor that is no other row, DataError (naming file
    and key) for a missing, damaged or contradictory file.
    """
    if not rows:
        raise ConfigError("rows: nothing to report, at least one row is needed")
    results: dict[str, RowResult] = {}
    for row_id, info in rows.items():
        ancestor = info.ancestor.row if info.ancestor else None
        for key, name in (("baseline", info.baseline), ("ancestor", ancestor)):
            if name is not None and (name == row_id or name not in rows):
                raise ConfigError(
                    f"{row_id}: {key}: {name!r} is no other row; known rows: {', '.join(rows)}"
                )
        metrics_file = metrics_dir / f"{row_id}.json"
        if metrics_file.is_file():
            csv_name = f"{row_id}.csv"
            results[row_id] = read_result(
                metrics_file,
                evaluations_dir / csv_name,
                curves_dir / csv_name,
                row=row_id,
                scale=scale.name,
            )
    return Report(scale, tuple(_report_row(row_id, rows[row_id], results) for row_id in rows))


def _report_row(row_id: str, info: RowInfo, results: Mapping[str, RowResult]) -> ReportRow:
    result = results.get(row_id)
    baseline = results.get(info.baseline) if info.baseline else None
    delta = None
    if result and baseline:
        delta = paired_delta(_top1_by_seed(result), _top1_by_seed(baseline))
    return ReportRow(row_id, info, result, delta)


def _top1_by_seed(result: RowResult) -> dict[int, float]:
    return {seed.seed: seed.top1_pct for seed in result.seeds}
