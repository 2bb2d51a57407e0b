"""The runs of a transfer, one for each of its seeds."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from pipelines.params.reader import Params
from pipelines.params.runs import needed_run, run_of
from pipelines.params.training import row_seeds
from pipelines.params.transfers import transfer_recipe
from t2t.training.config import Parent, RunConfig


def transfer_configs(
    params: Params, scale: str, facts: Mapping[str, str], needed: Path
) -> list[RunConfig]:
    """The runs of the transfer that `facts` describe, one for each of its seeds.

    needed: the runs of the row that it needs.
    """
    transfer = facts["transfer"]
    recipe = transfer_recipe(params, scale, facts)
    starts = facts["start"] == "trained"
    return [
        replace(
            run_of(params, scale, f"transfers.{transfer}", seed, recipe),
            parent=Parent(needed_run(params, scale, needed, seed), "backbone") if starts else None,
            downstream=facts["set"],
        )
        for seed in row_seeds(params, scale, transfer, "transfers")
    ]
