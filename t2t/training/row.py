"""All runs of a row, one for each seed."""

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path

from t2t.files import write_text
from t2t.training.config import RunConfig
from t2t.training.curves import curves_csv
from t2t.training.parallel import run_side_by_side, slots
from t2t.training.passes import most_ranks
from t2t.training.run import train_run


def train_row(
    configs: Sequence[RunConfig],
    shards: Path,
    workspaces: Path,
    outs: Mapping[int, Path],
    curves: Path,
    tags: Mapping[str, str],
) -> None:
    """Trains what differs by its seed alone, side by side where there is room.

    outs: each seed's folder for its run's files. `curves` is where all their learning curves go.
        The rest is as `train_run` has it. Raises what that and `run_side_by_side` raise.
    """
    jobs = [
        functools.partial(train_run, config, shards, workspaces, outs[config.seed], tags)
        for config in configs
    ]
    first = configs[0]
    run_side_by_side(jobs, slots(first.cpu_threads), most_ranks(first.recipe.batch_size))
    curves.parent.mkdir(parents=True, exist_ok=True)
    write_text(curves, curves_csv(outs))
