"""The paper's tables as it prints them, each figure beside ours."""

from dataclasses import dataclass

from t2t.reporting.cells import TOP1_COLUMN, Cell, Column, column_groups, gap_cell, paper_columns
from t2t.reporting.collect import Report, ReportRow
from t2t.reporting.transfers import TransferRow

# The paper's table of transfers.
TRANSFERS = "5"


@dataclass(frozen=True, slots=True)
class TableView:
    """One of the paper's tables, to be shown: rows or transfers by block."""

    number: str
    title: str
    columns: tuple[Column, ...]
    blocks: tuple[tuple[str, tuple[ReportRow | TransferRow, ...]], ...]

    @property
    def groups(self) -> list[tuple[str, int]]:
        """The group headings, each with how many columns it spans."""
        return column_groups(self.columns)


def table_views(report: Report) -> tuple[TableView, ...]:
    """The tables that the report is asked for, by number."""
    rows = {row.id: row for row in report.rows}
    views = [
        TableView(
            table.number,
            table.title,
            paper_columns(),
            tuple((name, tuple(rows[row] for row in ids)) for name, ids in table.blocks.items()),
        )
        for table in report.tables
    ]
    if report.transfers:
        sets = dict.fromkeys(transfer.info.set_title for transfer in report.transfers)
        blocks = tuple(
            (name, tuple(t for t in report.transfers if t.info.set_title == name)) for name in sets
        )
        views.append(TableView(TRANSFERS, "Transfer", transfer_columns(), blocks))
    return tuple(sorted(views, key=lambda view: view.number))


def transfer_columns() -> tuple[Column, ...]:
    """The columns of the table of transfers."""
    top1 = TOP1_COLUMN.group
    return (
        TOP1_COLUMN,
        Column("paper_top1_pct", top1, "paper", _paper),
        Column("top1_gap_pct", top1, "ours − paper", _gap),
        Column("top5_pct", "Top-5, %", "ours", _top5),
        Column("train_images", "Images", "to train on", _images),
        Column("num_classes", "Images", "classes", _classes),
    )


def _paper(row: TransferRow) -> Cell:
    paper = row.info.paper
    return Cell(f"{paper.top1_pct:.1f}", paper.top1_pct) if paper else Cell("not printed")


def _gap(row: TransferRow) -> Cell:
    paper = row.info.paper.top1_pct if row.info.paper else None
    return gap_cell(row.result.metrics.top1_pct if row.result else None, paper, 2)


def _top5(row: TransferRow) -> Cell:
    found = row.result
    return Cell(f"{found.metrics.top5_pct:.2f}", found.metrics.top5_pct) if found else Cell()


def _images(row: TransferRow) -> Cell:
    found = row.result
    return Cell(f"{found.metrics.train_images:,}", found.metrics.train_images) if found else Cell()


def _classes(row: TransferRow) -> Cell:
    found = row.result
    return Cell(str(found.metrics.num_classes), found.metrics.num_classes) if found else Cell()
