"""report: the tables, the claims and the page, from the results of every row."""

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

from pipelines.params.paper import Claim, PaperTable
from pipelines.params.reader import Params
from pipelines.params.table import DerivedRow, Row
from pipelines.params.training import Section, resolve_recipe, row_seeds
from t2t.reporting.collect import collect
from t2t.reporting.infos import Ancestor, ClaimInfo, PaperFigures, RowInfo, ScaleInfo, TableInfo
from t2t.reporting.page import write_report


def main(argv: Sequence[str]) -> None:
    """Reads every row and claim, and the results of --scale in the folder --results; writes the
    tables and the page beside them."""
    parser = argparse.ArgumentParser(prog="report", description=__doc__)
    parser.add_argument("--scale", required=True)
    parser.add_argument("--results", type=Path, required=True)
    args = parser.parse_args(argv)
    params = Params(Path("params.yaml"))
    scale = ScaleInfo(
        args.scale,
        params.part(f"scales.{args.scale}.description", str),
        params.part(f"scales.{args.scale}.checks_claims", bool),
    )
    claims = {
        name: ClaimInfo(**params.part(f"claims.{name}", Claim).model_dump())
        for name in params.part("claims", dict)
    }
    tables = [
        TableInfo(str(table.table), table.title, table.blocks)
        for table in params.part("tables", list[PaperTable])
    ]
    rows = dict(_rows(params, args.scale))
    report = collect(rows, scale, args.results, tables=tables, claims=claims)
    write_report(report, args.results)


def _rows(params: Params, scale: str) -> Iterator[tuple[str, RowInfo]]:
    sections: tuple[tuple[Section, type[Row]], ...] = (("rows", Row), ("derived", DerivedRow))
    for section, kind in sections:
        for name in params.part(section, dict):
            yield name, _row_info(params, scale, name, section, kind)


def _row_info(params: Params, scale: str, name: str, section: Section, kind: type[Row]) -> RowInfo:
    row = params.part(f"{section}.{name}", kind)
    paper = row.paper.model_dump() if row.paper else None
    ancestor = Ancestor(row.needs, row.role) if isinstance(row, DerivedRow) else None
    recipe = resolve_recipe(params, scale, name, section)
    return RowInfo(
        title=row.title,
        paper=PaperFigures(**paper | {"table": str(paper["table"])}) if paper else None,
        baseline=row.baseline,
        ancestor=ancestor,
        variant=row.model.variant,
        train_fraction=recipe.train_fraction,
        recipe={
            **row.model.model_dump(),
            **params.part(f"scales.{scale}.model", dict),
            **vars(recipe),
            "seeds": row_seeds(params, scale, name, section),
        },
    )
