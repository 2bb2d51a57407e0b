"""The runs of a transfer, one for each of its seeds."""

from collections.abc import Mapping
from pathlib import Path

from pipelines.params.reader import Params
from pipelines.params.runs import needed_run
from pipelines.params.training import CpuThreads, ModelScale, RowModel, row_seeds
from pipelines.params.transfers import transfer_recipe
from t2t.training.config import Parent, RunConfig


def transfer_configs(
    params: Params, scale: str, facts: Mapping[str, str], needed: Path
) -> list[RunConfig]:
    """The runs of the transfer that `facts` describe, one for each of its seeds.

    needed: the runs of the row that it needs.
    """
    transfer = facts["transfer"]
    model = params.part(f"transfers.{transfer}.model", RowModel)
    size = params.part(f"scales.{scale}.model", ModelScale)
    recipe = transfer_recipe(params, scale, facts)
    cpu_threads = params.part(f"scales.{scale}.cpu_threads", CpuThreads)
    starts = facts["start"] == "trained"
    return [
        RunConfig(
            scale=scale,
            row=transfer,
            seed=seed,
            backbone=model.backbone,
            variant=model.variant,
            overrides=model.overrides,
            width_factor=size.width_factor,
            depth_factor=size.depth_factor,
            cpu_threads=cpu_threads,
            recipe=recipe,
            parent=Parent(needed_run(params, scale, needed, seed), "backbone") if starts else None,
            downstream=facts["set"],
        )
        for seed in row_seeds(params, scale, transfer, "transfers")
    ]
