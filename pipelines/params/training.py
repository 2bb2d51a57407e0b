"""The parts of params.yaml that decide a training run: the recipe, the scale's sizes, the row."""

import dataclasses
import typing
from typing import Annotated, Any

from pydantic import Field

from pipelines.params.reader import Name, Params, ParamsPart, suggest
from t2t.training.recipe import Recipe, RecipeError

Seeds = Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1)]
CpuThreads = Annotated[int, Field(ge=1)]
SeedCount = Annotated[int, Field(ge=1)]
# The one key of a row's `train` that is no knob of the recipe.
SEEDS = "seeds"


class ModelScale(ParamsPart):
    """`scales.<scale>.model`: by how much every network is shrunk; 1 is the paper's size."""

    width_factor: Annotated[float, Field(gt=0, le=1)]
    depth_factor: Annotated[float, Field(gt=0, le=1)]


class RowModel(ParamsPart):
    """`rows.<row>.model`: a file in t2t/models, a variant of its table, what to override in it."""

    backbone: Name
    variant: Name
    overrides: dict[str, bool | int | float | str] = {}


def row_seeds(params: Params, scale: str, row: str) -> list[int]:
    """The scale's seeds, or as many of the first as `rows.<row>.train.seeds` says."""
    seeds = params.part(f"scales.{scale}.seeds", Seeds)
    wanted = params.part(f"rows.{row}.train", dict[str, Any]).get(SEEDS)
    if wanted is None:
        return seeds
    return seeds[: params.validated(f"rows.{row}.train.{SEEDS}", SeedCount, wanted)]


def resolve_recipe(params: Params, scale: str, row: str | None = None) -> Recipe:
    """`recipe`, changed by `scales.<scale>.train`, changed by `rows.<row>.train`."""
    places = ["recipe", f"scales.{scale}.train"] + ([f"rows.{row}.train"] if row else [])
    known = [field.name for field in dataclasses.fields(Recipe)]
    merged: dict[str, Any] = {}
    origin: dict[str, str] = {}
    for place in places:
        layer = params.part(place, dict[str, Any])
        for name, value in layer.items():
            if name == SEEDS and place.startswith("rows."):
                continue
            if name not in known:
                raise params.error(f"{place}.{name}", f"unknown key{suggest(name, known)}")
            merged[name] = tuple(value) if isinstance(value, list) else value
            origin[name] = f"{place}.{name}"
    for name, kind in typing.get_type_hints(Recipe).items():
        place = origin.get(name, f"recipe.{name}")
        if name not in merged:
            raise params.error(place, "missing")
        params.validated(place, kind, merged[name])
    try:
        return Recipe(**merged)
    except RecipeError as error:
        raise params.error(origin[error.key], error.problem) from None
