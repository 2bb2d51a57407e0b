"""What the paper, and others, say of the rows: its tables and the claims; the report's alone."""

from typing import Annotated

from pydantic import Field

from pipelines.params.reader import Name, Params, ParamsPart
from t2t.reporting.infos import ClaimKind

# Which of `row` and `baseline` a claim of this kind names.
_NAMES = {
    "effect": {"row", "baseline"},
    "equal": {"row", "baseline"},
    "direction": {"row", "baseline"},
    "figure": {"row"},
    "remark": set(),
}


class Claim(ParamsPart):
    """What is said of two rows or two transfers (`row`, `baseline`), or of one.

    `stated_pct` stands only where the figure is not the one that the rows' `paper` gives.
    """

    title: Annotated[str, Field(min_length=1, max_length=120)]
    kind: ClaimKind
    source: Annotated[str, Field(pattern=r"^(Table [1-7]|text|elsewhere|extension)$")]
    row: Name | None = None
    baseline: Name | None = None
    stated_pct: Annotated[float, Field(ge=-100, le=100)] | None = None
    note: str = ""


class PaperTable(ParamsPart):
    """One of `tables`: a table of the paper as printed, rows by block."""

    table: Annotated[int, Field(ge=1, le=7)]
    title: Annotated[str, Field(min_length=1, max_length=80)]
    blocks: Annotated[dict[str, list[Name]], Field(min_length=1)]

    @property
    def rows(self) -> set[str]:
        """The rows in any block."""
        return {row for rows in self.blocks.values() for row in rows}


def check_tables(params: Params) -> None:
    """Raises ConfigError for a table with a row that the paper lacks, or without one that it has.

    A table that is left out is not shown.
    """
    papers = {
        name: row["paper"]
        for section in ("rows", "derived")
        for name, row in params.tree[section].items()
    }
    printed: dict[int, set[str]] = {}
    for table in params.part("tables", list[PaperTable]):
        for row in sorted(table.rows):
            if papers.get(row) is None:
                problem = f"table {table.table}: {row!r} is no row with figures of the paper"
                raise params.error("tables", problem)
        printed[table.table] = table.rows
    for row, paper in papers.items():
        if paper is not None and row not in printed.get(paper["table"], (row,)):
            raise params.error("tables", f"table {paper['table']}: {row} is missing, see its paper")


def check_claims(params: Params) -> None:
    """Raises ConfigError, at the line, for a claim that cannot be held against the rows."""
    known = [
        name
        for section in ("rows", "derived", "released", "transfers")
        for name in params.tree.get(section) or ()
    ]
    for name in params.part("claims", dict):
        key = f"claims.{name}"
        claim = params.part(key, Claim)
        named = {field for field in ("row", "baseline") if getattr(claim, field) is not None}
        if named != _NAMES[claim.kind]:
            wanted = " and ".join(sorted(_NAMES[claim.kind], reverse=True)) or "neither row"
            raise params.error(key, f"a claim of kind {claim.kind} names {wanted}")
        for field in named:
            if getattr(claim, field) not in known:
                raise params.error(
                    f"{key}.{field}",
                    f"{getattr(claim, field)!r} is no row or transfer (known: {', '.join(known)})",
                )
