"""What a report shows: the rows asked for, joined with the results found for them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from t2t.errors import ConfigError, DataError
from t2t.reporting.compare import Estimate, paired_delta
from t2t.reporting.infos import ClaimInfo, RowInfo, ScaleInfo, TableInfo, TransferInfo
from t2t.reporting.measurements import (
    Analysis,
    Costs,
    Difference,
    RowCost,
    read_analysis,
    read_costs,
    read_differences,
    read_transfer,
)
from t2t.reporting.records import RowResult, read_result
from t2t.reporting.transfers import TransferRow


@dataclass(frozen=True, slots=True)
class ReportRow:
    """One row as reported; `result` is null where it was not run."""

    id: str
    info: RowInfo
    result: RowResult | None
    delta: Estimate | None
    cost: RowCost | None = None

    @property
    def command(self) -> str:
        """The command that produces this row's results."""
        stage = "evaluate_derived" if self.info.ancestor else "evaluate"
        stage = "evaluate_released" if self.info.released else stage
        return f"dvc repro {stage}@{self.id}"

    def printed_delta_pct(self, baseline: str) -> float | None:
        """The difference that the paper prints for this row, if it is the one to `baseline`."""
        paper = self.info.paper
        return paper.delta_pct if paper and self.info.baseline == baseline else None


@dataclass(frozen=True, slots=True)
class Report:
    """Everything a report shows, in the order of the parameters.

    `differences` are those measured over images and seeds, by row; `analyses` has null for a row
    that was not analysed yet.
    """

    scale: ScaleInfo
    rows: tuple[ReportRow, ...]
    tables: tuple[TableInfo, ...] = ()
    claims: Mapping[str, ClaimInfo] = field(default_factory=dict)
    transfers: tuple[TransferRow, ...] = ()
    costs: Costs | None = None
    differences: Mapping[str, Difference] = field(default_factory=dict)
    analyses: Mapping[str, Analysis | None] = field(default_factory=dict)

    @property
    def run_rows(self) -> tuple[ReportRow, ...]:
        """The rows that have results."""
        return tuple(row for row in self.rows if row.result)

    def title_of(self, row_id: str) -> str:
        """The title of the row or transfer `row_id`."""
        return next(x.info.title for x in (*self.rows, *self.transfers) if x.id == row_id)

    def difference(
        self, row: ReportRow | TransferRow, baseline: ReportRow | TransferRow
    ) -> Estimate | None:
        """Top-1 of `row` minus that of `baseline`, in points: as measured over their common images
        where that was done, else over the seeds that both have; null without a common seed."""
        measured = _measured(self.differences, row.id, baseline.id)
        if measured or not (row.result and baseline.result):
            return measured
        ours, other = (
            {seed.seed: seed.top1_pct for seed in result.seeds}
            for result in (row.result, baseline.result)
        )
        return paired_delta(ours, other)

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
    folder: Path,
    *,
    tables: Sequence[TableInfo] = (),
    claims: Mapping[str, ClaimInfo] | None = None,
    transfers: Mapping[str, TransferInfo] | None = None,
    analyses: Iterable[str] = (),
) -> Report:
    """Join what is asked for, in its order, with the results in `folder`, the scale's reports.

    A row without a metrics file counts as not run, and so does any other part whose file is
    absent. Files of other rows are never read. `analyses` are ids of rows.
    Raises ConfigError for a baseline or an ancestor that is no other row, DataError (naming file
    and key) for a missing, damaged or contradictory file, and for figures of a row of which
    something else was asked when they were measured.
    """
    if not rows:
        raise ConfigError("rows: nothing to report, at least one row is needed")
    _check_references(rows)
    results = {row: _result(folder, row, info, scale.name) for row, info in rows.items()}
    costs = read_costs(folder / "costs.json")
    differences = read_differences(folder / "differences.json")
    found = tuple(
        ReportRow(row, info, results[row], None, costs.rows.get(row) if costs else None)
        for row, info in rows.items()
    )
    for row in found:
        _check_asked(row, folder)
    report = Report(
        scale,
        found,
        tuple(tables),
        claims or {},
        tuple(
            TransferRow(name, info, read_transfer(folder / "transfers", name, scale.name))
            for name, info in (transfers or {}).items()
        ),
        costs,
        differences,
        {row: read_analysis(folder / "analyses" / row, row) for row in analyses},
    )
    return replace(report, rows=tuple(_with_delta(report, row) for row in found))


def _check_references(rows: Mapping[str, RowInfo]) -> None:
    for row_id, info in rows.items():
        ancestor = info.ancestor.row if info.ancestor else None
        for key, name in (("baseline", info.baseline), ("ancestor", ancestor)):
            if name is not None and (name == row_id or name not in rows):
                raise ConfigError(
                    f"{row_id}: {key}: {name!r} is no other row; known rows: {', '.join(rows)}"
                )


def _result(folder: Path, row: str, info: RowInfo, scale: str) -> RowResult | None:
    metrics = folder / "metrics" / f"{row}.json"
    if not metrics.is_file():
        return None
    seeds, curve = (folder / part / f"{row}.csv" for part in ("evaluations", "curves"))
    return read_result(metrics, seeds, None if info.released else curve, row=row, scale=scale)


def _check_asked(row: ReportRow, folder: Path) -> None:
    """Figures beside a recipe that they are not of would pass for its own."""
    measured = row.result.metrics.asked_sha256 if row.result else None
    if row.info.asked_sha256 and measured and measured != row.info.asked_sha256:
        raise DataError(
            f"{folder / 'metrics' / row.id}.json: asked_sha256: the network, recipe or seeds of "
            f"{row.id} were changed since it was measured; run `{row.command}`"
        )


def _with_delta(report: Report, row: ReportRow) -> ReportRow:
    baseline = next((other for other in report.rows if other.id == row.info.baseline), None)
    if row.result is None or baseline is None or baseline.result is None:
        return row
    return replace(row, delta=report.difference(row, baseline))


def _measured(differences: Mapping[str, Difference], row: str, baseline: str) -> Estimate | None:
    for ours, other in ((row, baseline), (baseline, row)):
        # A pair that is no row and its baseline stands under both its names.
        found = differences.get(f"{ours}/{other}") or differences.get(ours)
        if found and found.baseline == other:
            estimate = Estimate(
                found.delta_pct, found.low_pct, found.high_pct, found.seeds, found.over
            )
            return estimate if ours == row else estimate.reversed()
    return None
