"""catalogue: each row's network and baseline, apart from what else is written of a row.

What depends on these alone, such as the measurement of all networks, does not run again when a
title or a figure of the paper is edited.
"""

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pipelines.params.paper import Claim
from pipelines.params.reader import Name, Params
from pipelines.params.training import (
    ModelScale,
    Phase,
    RowModel,
    Section,
    phase_of,
    resolve_recipe,
)
from t2t.files import write_json


def main(argv: Sequence[str]) -> None:
    """Reads every row and claim and the scale's recipe and sizes; writes --networks, --baselines
    and the names of all --transfers and --analyses."""
    parser = argparse.ArgumentParser(prog="catalogue", description=__doc__)
    parser.add_argument("--scale", required=True)
    for name in ("networks", "baselines", "transfers", "analyses"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    args = parser.parse_args(argv)
    params = Params(Path("params.yaml"))
    networks = dict(_networks(params, args.scale))
    for path, content in (
        (args.networks, networks),
        (args.baselines, _baselines(params)),
        (args.transfers, sorted(params.part("transfers", dict))),
        (args.analyses, sorted(params.part("analyses", dict))),
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, content)


def _baselines(params: Params) -> dict[str, str | None]:
    """Each row's baseline by its name; what a claim sets it against besides, as `row/baseline`."""
    found = {
        name: params.part(f"{section}.{name}.baseline", Name | None)
        for section in ("rows", "derived", "released")
        for name in params.part(section, dict)
    }
    for name in params.part("claims", dict):
        claim = params.part(f"claims.{name}", Claim)
        if {claim.row, claim.baseline} <= found.keys() and found[claim.row] != claim.baseline:
            found[f"{claim.row}/{claim.baseline}"] = claim.baseline
    return found


def _networks(params: Params, scale: str) -> Iterator[tuple[str, dict[str, Any]]]:
    size = params.part(f"scales.{scale}.model", ModelScale).model_dump()
    sections: tuple[Section, ...] = ("rows", "derived")
    for section in sections:
        for name in params.part(section, dict):
            recipe = resolve_recipe(params, scale, name, section)
            phase = phase_of(params, name, section)
            yield name, _network(params, f"{section}.{name}", recipe.drop_path, phase) | size
    for name in params.part("released", dict):
        recipe = resolve_recipe(params, scale)
        phase = params.part(f"released.{name}.phase", Phase)
        yield name, _network(params, f"released.{name}", recipe.drop_path, phase) | size


def _network(params: Params, place: str, drop_path: float, phase: Phase) -> dict[str, Any]:
    model = params.part(f"{place}.model", RowModel)
    overrides = {"drop_path_rate": drop_path, **model.overrides}
    return {**model.model_dump(), "overrides": overrides, "phase": phase}
