"""The runs that params.yaml asks for: a row of the table with each of its seeds."""

from dataclasses import replace
from pathlib import Path

from pipelines.params.reader import Params
from pipelines.params.training import (
    CpuThreads,
    ModelScale,
    Role,
    RowModel,
    Section,
    Seeds,
    image_size_of,
    resolve_recipe,
    row_seeds,
)
from t2t.training.config import Parent, RunConfig
from t2t.training.recipe import Recipe


def run_folder(runs: Path, seed: int) -> Path:
    """Where the run with `seed` lies among those of its row."""
    return runs / f"seed_{seed}"


def run_of(params: Params, scale: str, place: str, seed: int, recipe: Recipe) -> RunConfig:
    """The run of `place`, an entry of params.yaml such as `rows.t2t_vit_14`, that needs no other
    run and takes the scale's own images as its shards have them."""
    model = params.part(f"{place}.model", RowModel)
    size = params.part(f"scales.{scale}.model", ModelScale)
    return RunConfig(
        scale=scale,
        row=place.partition(".")[2],
        seed=seed,
        backbone=model.backbone,
        variant=model.variant,
        overrides=model.overrides,
        width_factor=size.width_factor,
        depth_factor=size.depth_factor,
        cpu_threads=params.part(f"scales.{scale}.cpu_threads", CpuThreads),
        recipe=recipe,
    )


def configs_of(params: Params, scale: str, row: str, needed: Path | None) -> list[RunConfig]:
    """The runs of `row`, one for each of its seeds.

    needed: the runs of the row that a row of `derived` needs; None for a row of `rows`.
    """
    section: Section = "rows" if needed is None else "derived"
    recipe = resolve_recipe(params, scale, row, section)
    image_size = image_size_of(params, scale, row, section)
    return [
        replace(
            run_of(params, scale, f"{section}.{row}", seed, recipe),
            image_size=image_size,
            parent=None if needed is None else _parent(params, scale, row, needed, seed),
        )
        for seed in row_seeds(params, scale, row, section)
    ]


def _parent(params: Params, scale: str, row: str, needed: Path, seed: int) -> Parent:
    run = needed_run(params, scale, needed, seed)
    return Parent(run, params.part(f"derived.{row}.role", Role))


def needed_run(params: Params, scale: str, needed: Path, seed: int) -> Path:
    """The run of the same seed, or of the scale's first where the needed row takes fewer seeds.

    needed: the folder of the needed row's runs.
    """
    run = run_folder(needed, seed)
    if run.is_dir():
        return run
    return run_folder(needed, params.part(f"scales.{scale}.seeds", Seeds)[0])
