"""The configuration of one run, as it is asked for and as it is resolved and written down."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from torch import nn

from t2t.errors import DataError
from t2t.models import create
from t2t.training.recipe import Recipe, asked_sha256
from t2t.training.workspace import check_run

TRAIN_SHARD, VAL_SHARD, FINE_VAL_SHARD = "train.beton", "val.beton", "val_fine.beton"


@dataclass(frozen=True)
class Parent:
    """A finished run that another one needs: the folder of its files.

    role: "weights" to go on from its averaged weights, "backbone" to do so with a new head,
        "teacher" to learn from its answers.
    """

    run: Path
    role: Literal["weights", "backbone", "teacher"]

    def config(self) -> dict[str, Any]:
        """Its config.json.

        Raises DataError where there is no run, CheckpointError where its files are not what
        training wrote.
        """
        path = self.run / "config.json"
        if not path.is_file():
            raise DataError(f"{path}: missing; train that row first")
        check_run(self.run)
        return json.loads(path.read_text())

    @property
    def weights(self) -> Path:
        """Its averaged weights."""
        return self.run / "ema.safetensors"


@dataclass(frozen=True)
class RunConfig:
    """What is to be trained: a variant of a backbone, shrunk by the factors, with one seed.

    image_size: pixels a side; None for the shards' own, else the shards must hold validation
        images of that size.
    downstream: the data set, where it is not the scale's own.
    """

    scale: str
    row: str
    seed: int
    backbone: str
    variant: str
    overrides: Mapping[str, Any]
    width_factor: float
    depth_factor: float
    cpu_threads: int
    recipe: Recipe
    image_size: int | None = None
    parent: Parent | None = None
    downstream: str | None = None

    @property
    def label(self) -> str:
        """The run's name, for people."""
        return f"{self.row}-seed{self.seed}"

    @property
    def val_shard(self) -> str:
        """The file name of its validation shard."""
        return VAL_SHARD if self.image_size is None else FINE_VAL_SHARD

    @property
    def data_set(self) -> str:
        """The name of its data set, for people: the scale's, or that and the downstream set's."""
        return self.scale if self.downstream is None else f"{self.scale}.{self.downstream}"

    def plain(self) -> dict[str, Any]:
        """As plain values, drop-path among the network's arguments; a parent is its digest."""
        plain = dataclasses.asdict(self)
        plain["data_set"] = self.data_set
        plain["overrides"] = {"drop_path_rate": self.recipe.drop_path, **self.overrides}
        plain["val_shard"] = self.val_shard
        if self.parent is not None:
            digest = self.parent.config()["digest"]
            plain["parent"] = {"role": self.parent.role, "digest": digest}
        return plain


def sha256_asked_of(configs: Sequence[Mapping[str, Any]]) -> str:
    """`asked_sha256` of the row whose runs, one for each seed, have these config.json."""
    first = configs[0]
    asked = dict(first) | {
        "image_size": None if first["val_shard"] == VAL_SHARD else first["image_size"],
        "role": first["parent"]["role"] if first["parent"] else None,
    }
    return asked_sha256(asked, (config["seed"] for config in configs))


def network_of(config: Mapping[str, Any]) -> nn.Module:
    """The network that a run's config.json describes, with weights as initialised."""
    return create(
        config["variant"],
        backbone=config["backbone"],
        image_size=config["image_size"],
        num_classes=config["num_classes"],
        width_factor=config["width_factor"],
        depth_factor=config["depth_factor"],
        **config["overrides"],
    )
