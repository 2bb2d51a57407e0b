"""The parts of params.yaml that decide a training run: the recipe, the scale's sizes, the row."""

import dataclasses
import typing
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import Field

from pipelines.params.reader import ImageSize, Name, Params, ParamsPart, suggest
from t2t.training.recipe import Recipe, RecipeError

# PyTorch's generators take seeds of 63 bits.
Seeds = Annotated[list[Annotated[int, Field(ge=0, lt=1 << 63)]], Field(min_length=1)]
# More than machines have; PyTorch ends the process at a number it cannot hold.
CpuThreads = Annotated[int, Field(ge=1, le=1024)]
# Beyond any run; what is larger is a slip of the pen that would show after hours, or never end.
Images = Annotated[int, Field(le=1 << 20)]
Epochs = Annotated[int, Field(le=1 << 20)]
SeedCount = Annotated[int, Field(ge=1)]
_BOUNDED = {"batch_size": Images, "mix_group": Images, "epochs": Epochs}
_BOUNDED |= {"cooldown_epochs": Epochs, "warmup_epochs": Epochs}
# The one key of a row's `train` that is no knob of the recipe.
SEEDS = "seeds"
# Rows of the table stand in one of two sections: those of `derived` start from a row of `rows`.
Section = Literal["rows", "derived"]
# The sections whose entries are trained, each with `train` and with seeds of its own.
Trained = Section | Literal["transfers"]
_TRAINED = ("rows", "derived", "transfers")
# What the runs of the row that `derived.<row>.needs` names are to those of <row>.
Role = Literal["weights", "teacher"]
# What the needed row's weights are to a transfer: what it starts from, or nothing.
Start = Literal["trained", "scratch"]
# The block of the scale that trains a row of `derived`.
Phase = Literal["train", "fine"]


class ModelScale(ParamsPart):
    """`scales.<scale>.model`: by how much every network is shrunk; 1 is the paper's size."""

    width_factor: Annotated[float, Field(gt=0, le=1)]
    depth_factor: Annotated[float, Field(gt=0, le=1)]


class FineTuning(ParamsPart):
    """`scales.<scale>.fine`: pixels a side of larger images, and what differs from `train`."""

    image_size: ImageSize
    train: dict[str, Any]


class RowModel(ParamsPart):
    """`rows.<row>.model`: a file in t2t/models, a variant of its table, what to override in it."""

    backbone: Name
    variant: Name
    overrides: dict[str, bool | int | float | str] = {}


def row_seeds(params: Params, scale: str, row: str, section: Trained = "rows") -> list[int]:
    """The scale's seeds, or as many of the first as `<section>.<row>.train.seeds` says."""
    seeds = params.part(f"scales.{scale}.seeds", Seeds)
    wanted = params.part(f"{section}.{row}.train", dict[str, Any]).get(SEEDS)
    if wanted is None:
        return seeds
    return seeds[: params.validated(f"{section}.{row}.train.{SEEDS}", SeedCount, wanted)]


def phase_of(params: Params, row: str, section: Section) -> Phase:
    """The block of the scale that trains `row`: `train` for every row of `rows`."""
    return "train" if section == "rows" else params.part(f"derived.{row}.phase", Phase)


def image_size_of(params: Params, scale: str, row: str, section: Section) -> int | None:
    """Pixels a side of the images that `row` is trained at; None for the shards' own."""
    if phase_of(params, row, section) == "train":
        return None
    return params.part(f"scales.{scale}.fine.image_size", ImageSize)


def resolve_recipe(
    params: Params, scale: str, row: str | None = None, section: Section = "rows"
) -> Recipe:
    """`recipe`, changed by the scale's `train`, by its `fine.train` for a row of that phase, and by
    the row's own `train`."""
    return merged_recipe(params, recipe_places(params, scale, row, section))


def recipe_places(
    params: Params, scale: str, row: str | None = None, section: Section = "rows"
) -> list[str]:
    """The mappings that `resolve_recipe` merges, the last of which prevails."""
    places = ["recipe", f"scales.{scale}.train"]
    if row is not None:
        if phase_of(params, row, section) == "fine":
            places.append(f"scales.{scale}.fine.train")
        places.append(f"{section}.{row}.train")
    return places


def merged_recipe(params: Params, places: Sequence[str]) -> Recipe:
    """The recipe at the first of the dotted `places`, changed by each that follows.

    Raises ConfigError, at the place, for a key that is unknown, missing or out of range.
    """
    known = [field.name for field in dataclasses.fields(Recipe)]
    merged: dict[str, Any] = {}
    origin: dict[str, str] = {}
    for place in places:
        layer = params.part(place, dict[str, Any])
        for name, value in layer.items():
            if name == SEEDS and place.partition(".")[0] in _TRAINED:
                continue
            if name not in known:
                raise params.error(f"{place}.{name}", f"unknown key{suggest(name, known)}")
            merged[name] = tuple(value) if isinstance(value, list) else value
            origin[name] = f"{place}.{name}"
    for name, kind in typing.get_type_hints(Recipe).items():
        place = origin.get(name, f"recipe.{name}")
        if name not in merged:
            raise params.error(place, "missing")
        # As the field's type has it: whoever writes 2 for 2.0 asks for the same.
        merged[name] = params.validated(place, _BOUNDED.get(name, kind), merged[name])
    try:
        return Recipe(**merged)
    except RecipeError as error:
        raise params.error(origin[error.key], error.problem) from None
