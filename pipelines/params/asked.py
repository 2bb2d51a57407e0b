"""What the report is asked to show: rows, tables, claims, transfers and analyses of params.yaml."""

import dataclasses
from collections.abc import Iterator
from typing import Any

from pipelines.params.paper import Claim, PaperTable
from pipelines.params.reader import Name, Params
from pipelines.params.table import DerivedRow, Paper, Row
from pipelines.params.training import (
    ModelScale,
    Section,
    image_size_of,
    resolve_recipe,
    row_seeds,
)
from t2t.reporting.infos import (
    Ancestor,
    ClaimInfo,
    PaperFigures,
    RowInfo,
    ScaleInfo,
    TableInfo,
    TransferInfo,
    TransferPaper,
)
from t2t.training.recipe import asked_sha256


def asked_scale(params: Params, scale: str) -> ScaleInfo:
    """What the scale says of itself."""
    place = f"scales.{scale}"
    description = params.part(f"{place}.description", str)
    return ScaleInfo(scale, description, params.part(f"{place}.checks_claims", bool))


def asked_rows(params: Params, scale: str) -> dict[str, RowInfo]:
    """Every row of the table, trained here or with weights that others published."""
    return dict([*_trained_rows(params, scale), *_released_rows(params)])


def _trained_rows(params: Params, scale: str) -> Iterator[tuple[str, RowInfo]]:
    sections: tuple[tuple[Section, type[Row]], ...] = (("rows", Row), ("derived", DerivedRow))
    for section, kind in sections:
        for name in params.part(section, dict):
            row = params.part(f"{section}.{name}", kind)
            recipe = resolve_recipe(params, scale, name, section)
            sizes = params.part(f"scales.{scale}.model", ModelScale)
            seeds = row_seeds(params, scale, name, section)
            asked = {
                **row.model.model_dump(),
                **sizes.model_dump(),
                "image_size": image_size_of(params, scale, name, section),
                "role": row.role if isinstance(row, DerivedRow) else None,
                "recipe": dataclasses.asdict(recipe),
            }
            yield (
                name,
                RowInfo(
                    title=row.title,
                    paper=_figures(row.paper),
                    baseline=row.baseline,
                    ancestor=Ancestor(row.needs, row.role) if isinstance(row, DerivedRow) else None,
                    variant=row.model.variant,
                    train_fraction=recipe.train_fraction,
                    recipe={
                        **row.model.model_dump(),
                        **sizes.model_dump(),
                        **vars(recipe),
                        "seeds": seeds,
                    },
                    asked_sha256=asked_sha256(asked, seeds),
                ),
            )


def _released_rows(params: Params) -> Iterator[tuple[str, RowInfo]]:
    for name in params.part("released", dict):
        place = f"released.{name}"
        yield (
            name,
            RowInfo(
                title=params.part(f"{place}.title", str),
                paper=_figures(params.part(f"{place}.paper", Paper | None)),
                baseline=params.part(f"{place}.baseline", Name | None),
                released=True,
            ),
        )


def _figures(paper: Paper | None) -> PaperFigures | None:
    return PaperFigures(**paper.model_dump() | {"table": str(paper.table)}) if paper else None


def asked_tables(params: Params) -> list[TableInfo]:
    """The paper's tables."""
    tables = params.part("tables", list[PaperTable])
    return [TableInfo(str(table.table), table.title, table.blocks) for table in tables]


def asked_claims(params: Params) -> dict[str, ClaimInfo]:
    """Every claim."""
    return {
        name: ClaimInfo(**params.part(f"claims.{name}", Claim).model_dump())
        for name in params.part("claims", dict)
    }


def asked_transfers(params: Params) -> dict[str, TransferInfo]:
    """Every transfer."""
    found = {}
    for name in params.part("transfers", dict):
        transfer: dict[str, Any] = params.part(f"transfers.{name}", dict)
        paper = transfer["paper"]
        found[name] = TransferInfo(
            title=transfer["title"],
            needs=transfer["needs"],
            set_title=params.part(f"downstream.{transfer['set']}.title", str),
            paper=TransferPaper(str(paper["table"]), paper["top1_pct"]) if paper else None,
        )
    return found


def asked_analyses(params: Params) -> list[str]:
    """The rows whose networks are looked into."""
    return list(params.part("analyses", dict))
