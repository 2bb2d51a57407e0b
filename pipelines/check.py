"""Looks at the whole of params.yaml before anything runs: `python -m pipelines.check`.

And whether DVC can read dvc.lock, and whether the raw images of one's own have changed from which
the scale's sets were prepared.
"""

import json
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import get_args

from pipelines.lock_file import check_lock
from pipelines.params.analysis import Analysis
from pipelines.params.networks import check_model, configuration, parts, torchvision_models
from pipelines.params.paper import check_claims, check_tables
from pipelines.params.reader import NAME_PATTERN, Params, suggest
from pipelines.params.table import DerivedRow, DownstreamSet, ReleasedRow, Row, Scale, Transfer
from pipelines.params.training import (
    RowModel,
    Section,
    merged_recipe,
    recipe_places,
    resolve_recipe,
    row_seeds,
)
from pipelines.params.transfers import transfer_facts, transfer_places, transfer_recipe
from t2t.errors import ConfigError, T2TError
from t2t.training.recipe import Recipe

# Images of whose statistics batch norms can make anything.
_LEAST_NORMED = 8
SECTIONS = ("scale", "scales", "recipe", "rows", "derived", "released", "analyses")
SECTIONS += ("downstream", "transfer_recipes", "transfers", "tables", "claims")


def check_params(path: Path) -> Params:
    """Validates every part of the file. Raises ConfigError for the first thing that is wrong."""
    params = Params(path)
    for section in params.tree:
        if section not in SECTIONS:
            known = ", ".join(SECTIONS)
            raise params.error(str(section), f"unknown section (known here: {known})")
    _check_names(params, "scales")
    _check_names(params, "rows")
    for section in ("derived", "released", "downstream", "transfer_recipes", "transfers"):
        _check_names(params, section, at_least=0)
    scale = params.part("scale", str)
    if scale not in params.part("scales", dict):
        raise params.error(
            "scale", f"{scale!r} is none of scales: {', '.join(params.tree['scales'])}"
        )
    for name in params.tree["scales"]:
        _check_scale(params, name)
    for name in params.tree["rows"]:
        _check_row(params, name, "rows", params.part(f"rows.{name}", Row))
    for name in params.tree["derived"]:
        row = params.part(f"derived.{name}", DerivedRow)
        _check_needs(params, name, row)
        _check_row(params, name, "derived", row)
    for name in params.tree["released"]:
        _check_released(params, name)
    _check_analyses(params)
    _check_downstream(params)
    for name in params.tree["transfers"]:
        _check_transfer(params, name)
    _check_twins(params)
    check_tables(params)
    check_claims(params)
    return params


def _check_names(params: Params, section: str, at_least: int = 1) -> None:
    names = params.part(section, dict)
    if len(names) < at_least:
        raise params.error(section, "at least one is needed")
    for name in names:
        if not isinstance(name, str) or not re.fullmatch(NAME_PATTERN, name):
            # A line end in a name would break the one line of the message.
            place = f"{section}.{name}" if str(name).isprintable() else section
            raise params.error(
                place,
                f"a name is lower-case letters, digits, _ and - ({NAME_PATTERN}), got {name!r}",
            )


def _check_scale(params: Params, name: str) -> None:
    scale = params.part(f"scales.{name}", Scale)
    if len(set(scale.seeds)) != len(scale.seeds):
        raise params.error(f"scales.{name}.seeds", f"every seed stands once, got {scale.seeds}")
    if params.tree["scales"][name]["extra_sets"] and scale.data.source != "imagenet":
        raise params.error(
            f"scales.{name}.extra_sets",
            f"ImageNet-ReaL and -V2 are for the data of imagenet, not {scale.data.source}",
        )
    train = ["recipe", f"scales.{name}.train"]
    merged_recipe(params, train)
    merged_recipe(params, [*train, f"scales.{name}.fine.train"])


def _check_needs(params: Params, name: str, row: DerivedRow) -> None:
    rows = params.tree["rows"]
    if name in rows:
        raise params.error(f"derived.{name}", "stands in rows too; a name is one row's")
    if row.needs not in rows:
        known = ", ".join(rows)
        raise params.error(
            f"derived.{name}.needs", f"{row.needs!r} is not in rows (known: {known})"
        )
    if row.role == "weights":
        needed = params.part(f"rows.{row.needs}", Row).model
        if row.model != needed:
            problem = f"goes on from the weights of {row.needs}, so must be {needed.model_dump()}"
            raise params.error(f"derived.{name}.model", problem)
        return
    for scale in params.tree["scales"]:
        teacher = resolve_recipe(params, scale, name, "derived").teacher
        if teacher != "none":
            problem = f"its recipe at scale {scale} has the teacher {teacher} already"
            raise params.error(f"derived.{name}.role", problem)


def _check_released(params: Params, name: str) -> None:
    row = params.part(f"released.{name}", ReleasedRow)
    for section in ("rows", "derived"):
        if name in params.tree[section]:
            raise params.error(f"released.{name}", f"stands in {section} too; a name is one row's")
    _check_place(params, f"released.{name}", name, row)


def _check_row(params: Params, name: str, section: Section, row: Row) -> None:
    _check_place(params, f"{section}.{name}", name, row)
    for scale in params.tree["scales"]:
        recipe = resolve_recipe(params, scale, name, section)
        _check_recipe(params, recipe_places(params, scale, name, section), recipe, row.model)
        row_seeds(params, scale, name, section)


def _check_recipe(
    params: Params, places: Sequence[str], recipe: Recipe, model: RowModel | None = None
) -> None:
    """What a recipe names is there; `places` are those that it was merged from."""

    def error(key: str, problem: str) -> ConfigError:
        # The last place that says it prevails.
        place = next(p for p in reversed(places) if key in params.value(p))
        return params.error(f"{place}.{key}", problem)

    if recipe.rand_augment != "none":
        # NumPy and Pillow, which a project without it need not wait for.
        from t2t.data.randaugment import parse_policy

        try:
            parse_policy(recipe.rand_augment)
        except (ConfigError, ValueError) as problem:  # the latter of thousands of digits
            raise error("rand_augment", str(problem)) from None
    if recipe.teacher != "none" and recipe.teacher not in (known := torchvision_models()):
        hint = suggest(recipe.teacher, sorted(known))
        raise error("teacher", f"torchvision has no model {recipe.teacher!r}{hint}")
    if model is not None and model.backbone == "cnn" and recipe.mix_group < _LEAST_NORMED:
        raise error("mix_group", f"batch norms see as many images at once: {_LEAST_NORMED} or more")
    known = None if model is None else parts(model.backbone)
    for name in recipe.frozen if known is not None else ():
        if (first := name.partition(".")[0]) not in known:
            hint = suggest(first, sorted(known))
            raise error("frozen", f"{name!r} is no part of t2t/models/{model.backbone}.py{hint}")


def _check_place(params: Params, place: str, name: str, row: Row | ReleasedRow) -> None:
    rows = (*params.tree["rows"], *params.tree["derived"], *params.tree["released"])
    others = [other for other in rows if other != name]
    if row.baseline is not None and row.baseline not in others:
        raise params.error(
            f"{place}.baseline",
            f"{row.baseline!r} is no other row (known: {', '.join(others)})",
        )
    check_model(params, f"{place}.model", row.model)


def _check_analyses(params: Params) -> None:
    for name in params.part("analyses", dict):
        if name not in params.tree["rows"]:
            known = ", ".join(params.tree["rows"])
            raise params.error(f"analyses.{name}", f"is not in rows (known: {known})")
        params.part(f"analyses.{name}", Analysis)


def _check_twins(params: Params) -> None:
    """Two rows that are one training at every scale would be trained twice for the same figures."""
    shared = set.intersection(*(set(twin_rows(params, scale)) for scale in params.tree["scales"]))
    for first, second in sorted(shared):
        sections = (*get_args(Section), "transfers")
        section = next(section for section in sections if second in params.tree[section])
        raise params.error(
            f"{section}.{second}",
            f"is trained as {first} is, at every scale; a training is one row, whatever its "
            "title, baseline and paper say",
        )


def twin_rows(params: Params, scale: str) -> list[tuple[str, str]]:
    """Pairs of rows that are trained alike at a scale: the first such row and a later one; and
    such pairs of transfers."""
    first: dict[str, str] = {}
    pairs = []
    for name, training in _trainings(params, scale):
        if training in first:
            pairs.append((first[training], name))
        first.setdefault(training, name)
    return pairs


def _trainings(params: Params, scale: str) -> Iterator[tuple[str, str]]:
    """Every row and transfer with what decides its training, equal where that is."""
    for section in get_args(Section):
        for name, row in params.tree[section].items():
            model = params.part(f"{section}.{name}.model", RowModel)
            recipe = resolve_recipe(params, scale, name, section)
            ancestry = [row.get(key) for key in ("needs", "role", "phase")]
            yield name, _as_text(model, recipe, ancestry)
    for name in params.tree["transfers"]:
        facts = transfer_facts(params, name)
        model = params.part(f"transfers.{name}.model", RowModel)
        recipe = transfer_recipe(params, scale, facts)
        ancestry = [facts["set"], facts["start"]]
        # Whose weights they were is nothing to what starts from none.
        if facts["start"] == "trained":
            ancestry.append(facts["needs"])
        yield name, _as_text(model, recipe, ancestry)


def _as_text(model: RowModel, recipe: Recipe, ancestry: Sequence[str | None]) -> str:
    """The values that training sees, however they are written: 1 and 1.0, a default and nothing."""
    # As the recipe's, where the network's own is not overridden.
    network = {"drop_path_rate": recipe.drop_path} | {
        option: value
        for option, value in configuration(model).items()
        if option != "drop_path_rate" or option in model.overrides
    }
    # Nothing else reads it.
    knobs = {key: value for key, value in asdict(recipe).items() if key != "drop_path"}
    knobs["frozen"] = sorted(set(recipe.frozen))
    return json.dumps([model.backbone, network, knobs, list(ancestry)], sort_keys=True)


def _check_downstream(params: Params) -> None:
    """Every scale says what stands for each set, and what it changes of each transfer recipe."""
    for name in params.tree["downstream"]:
        params.part(f"downstream.{name}", DownstreamSet)
    for scale in params.tree["scales"]:
        for key, section in (("downstream", "downstream"), ("transfer", "transfer_recipes")):
            place, known = f"scales.{scale}.{key}", params.tree[section]
            for name in params.part(place, dict):
                if name not in known:
                    hint = suggest(str(name), known)
                    raise params.error(f"{place}.{name}", f"is not in {section}{hint}")
            for name in known:
                params.value(f"{place}.{name}")
        for name in params.tree["transfer_recipes"]:
            places = [f"transfer_recipes.{name}", f"scales.{scale}.transfer.{name}"]
            places = ["recipe", *places]
            _check_recipe(params, places, merged_recipe(params, places))


def _check_transfer(params: Params, name: str) -> None:
    place = f"transfers.{name}"
    transfer = params.part(place, Transfer)
    if name in params.tree["rows"] or name in params.tree["derived"]:
        raise params.error(place, "is the name of a row; a name is one row's or one transfer's")
    for key, section in (("needs", "rows"), ("set", "downstream"), ("recipe", "transfer_recipes")):
        value, known = getattr(transfer, key), params.tree[section]
        if value not in known:
            hint = suggest(value, known)
            raise params.error(f"{place}.{key}", f"{value!r} is not in {section}{hint}")
    needed = params.part(f"rows.{transfer.needs}", Row).model
    if transfer.model != needed:
        problem = f"is the network of {transfer.needs}, so must be {needed.model_dump()}"
        raise params.error(f"{place}.model", problem)
    facts = transfer_facts(params, name)
    for scale in params.tree["scales"]:
        recipe = transfer_recipe(params, scale, facts)
        _check_recipe(params, transfer_places(scale, facts), recipe, transfer.model)
        row_seeds(params, scale, name, "transfers")


def main() -> int:
    """Checks ./params.yaml, ./dvc.lock and raw images; prints one line and returns an exit code."""
    # Reads images' lengths with numpy, which those who import check_params need not wait for.
    from pipelines.raw_changes import check_raw

    try:
        params = check_params(Path("params.yaml"))
        if mended := check_lock(Path.cwd()):
            print(mended, file=sys.stderr)
        check_raw(params, params.part("scale", str), Path())
    except T2TError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    rows = sum(len(params.tree[section]) for section in ("rows", "derived", "released"))
    print(f"params.yaml: {rows} rows, scale {params.tree['scale']}")
    for first, second in twin_rows(params, params.tree["scale"]):
        print(f"Warning: at this scale {second} is trained as {first} is")
    return 0


if __name__ == "__main__":
    sys.exit(main())
