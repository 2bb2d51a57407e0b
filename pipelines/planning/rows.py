"""What the rows of a scale are: their networks, and how long each is trained."""

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from pipelines.params.data import ShardParams
from pipelines.params.reader import Params
from pipelines.params.training import (
    CpuThreads,
    ModelScale,
    Role,
    RowModel,
    Section,
    image_size_of,
    resolve_recipe,
    row_seeds,
)
from pipelines.planning.sizes import DataSize
from t2t.errors import ConfigError
from t2t.evaluation.complexity import Complexity, complexity
from t2t.evaluation.memory import TrainingMemory, training_memory
from t2t.training.config import network_of
from t2t.training.passes import has_batch_norm, most_ranks, passes_of
from t2t.training.ranks import Ranks
from t2t.training.recipe import Recipe

# Of a data set that nobody has seen yet; the head's share of a network is small.
_CLASSES_UNTIL_KNOWN = 1000


@dataclass(frozen=True)
class Row:
    """A row of the table at a scale: `arguments` make its network, `runs` is one for each seed.

    `steps` is None, and `val_images` 0, while nobody knows how many images there are.
    teacher_macs: of the network that answers beside it on every training image, else 0.
    """

    name: str
    section: Section
    arguments: Mapping[str, Any]
    recipe: Recipe
    runs: int
    cpu_threads: int
    steps: int | None
    val_images: int
    params: int
    macs: int
    teacher_macs: int

    @property
    def train_stage(self) -> str:
        """Its stage in dvc.yaml that trains."""
        return self._stage("train")

    @property
    def evaluate_stage(self) -> str:
        """Its stage in dvc.yaml that evaluates."""
        return self._stage("evaluate")

    def _stage(self, verb: str) -> str:
        kind = verb if self.section == "rows" else f"{verb}_{self.section}"
        return f"{kind}@{self.name}"

    @property
    def work_macs(self) -> float:
        """MACs of a forward pass that would take as long to train as an image does here: a teacher
        goes forward alone, a third of a training step."""
        return self.macs + self.teacher_macs / 3

    @property
    def images(self) -> int | None:
        """Images that one run trains on, each as often as it is seen."""
        return None if self.steps is None else self.steps * self.recipe.batch_size

    def recorded(self) -> dict[str, Any]:
        """What the record of a run of this network says, and no other network's."""
        keys = ("variant", "image_size", "num_classes", "width_factor", "depth_factor")
        overrides = dict(self.arguments["overrides"])
        del overrides["drop_path_rate"]  # which costs no time
        return {
            "row": self.name,
            "cpu_threads": self.cpu_threads,
            **{key: self.arguments[key] for key in keys},
            **overrides,
        }

    def run_s(self, images_per_s: float) -> float | None:
        """Seconds of one run at that speed of training.

        Each epoch ends with a look at every validation image through two networks, the averaged
        one too; forward alone is taken to be a third of a training step.
        """
        if self.images is None:
            return None
        validation = self.recipe.total_epochs * 2 * self.val_images / 3
        return (self.images + validation) / images_per_s

    @property
    def most_devices(self) -> int:
        """How many devices can share one run's batch."""
        return most_ranks(self.recipe.batch_size)

    def images_at_once(self, devices: int) -> int:
        """Images of a batch that one of a run's `devices` takes in one pass.

        Raises ConfigError for a batch too small to be shared so.
        """
        ranks, recipe = Ranks(0, devices, None), self.recipe
        by_groups = _is_by_groups(json.dumps(self.arguments))
        passes = passes_of(ranks, recipe.batch_size, recipe.mix_group, by_groups=by_groups)
        return max(map(len, passes))

    def memory(self, devices: int, *, bfloat16: bool) -> TrainingMemory:
        """What a training step needs on each of a run's `devices`; see `training_memory`."""
        return training_memory(
            _on_meta(self.arguments),
            self.images_at_once(devices),
            self.arguments["image_size"],
            self.arguments["num_classes"],
            bfloat16=bfloat16,
        )


def rows_of(params: Params, scale: str, data: DataSize | None) -> list[Row]:
    """Every row of params.yaml at `scale`, in the file's order.

    Raises ConfigError for a network that cannot be made and a batch larger than the training set.
    """
    sections: tuple[Section, ...] = ("rows", "derived")
    return [
        _row(params, scale, section, name, data)
        for section in sections
        for name in params.part(section, dict)
    ]


def _row(params: Params, scale: str, section: Section, name: str, data: DataSize | None) -> Row:
    recipe = resolve_recipe(params, scale, name, section)
    arguments = _arguments(params, scale, section, name, data)
    cost = _cost(params, section, name, arguments)
    return Row(
        name=name,
        section=section,
        arguments=arguments,
        recipe=recipe,
        runs=len(row_seeds(params, scale, name, section)),
        cpu_threads=params.part(f"scales.{scale}.cpu_threads", CpuThreads),
        steps=None if data is None else _steps(params, f"{section}.{name}", recipe, data),
        val_images=0 if data is None else data.val_images,
        params=cost.params,
        macs=cost.macs,
        teacher_macs=_teacher_macs(params, scale, section, name, arguments, data),
    )


def _cost(params: Params, section: str, name: str, arguments: Mapping[str, Any]) -> Complexity:
    try:
        return _complexity(json.dumps(arguments))
    except ConfigError as error:
        raise params.error(f"{section}.{name}.model", str(error)) from None


@functools.cache
def _complexity(arguments: str) -> Complexity:
    """Of the network that `arguments`, as JSON, make; rows share theirs, and each pupil asks anew
    for its teacher's."""
    plain = json.loads(arguments)
    return complexity(_on_meta(plain), plain["image_size"])


@functools.cache
def _is_by_groups(arguments: str) -> bool:
    """Whether the network that `arguments`, as JSON, make has batch norms."""
    return has_batch_norm(_on_meta(json.loads(arguments)))


def _teacher_macs(
    params: Params,
    scale: str,
    section: Section,
    name: str,
    arguments: Mapping[str, Any],
    data: DataSize | None,
) -> int:
    """Of a row that teaches; the size of a torchvision teacher is not looked up."""
    if section == "rows" or params.part(f"derived.{name}.role", Role) != "teacher":
        return 0
    needed = params.part(f"derived.{name}.needs", str)
    teacher = _arguments(params, scale, "rows", needed, data)
    teacher["image_size"] = arguments["image_size"]
    return _cost(params, "rows", needed, teacher).macs


def _arguments(
    params: Params, scale: str, section: Section, name: str, data: DataSize | None
) -> dict[str, Any]:
    recipe = resolve_recipe(params, scale, name, section)
    model = params.part(f"{section}.{name}.model", RowModel)
    size = params.part(f"scales.{scale}.model", ModelScale)
    own_size = params.part(f"scales.{scale}.shards", ShardParams).image_size
    return {
        "backbone": model.backbone,
        "variant": model.variant,
        "image_size": image_size_of(params, scale, name, section) or own_size,
        "num_classes": _CLASSES_UNTIL_KNOWN if data is None else data.num_classes,
        "width_factor": size.width_factor,
        "depth_factor": size.depth_factor,
        "overrides": {"drop_path_rate": recipe.drop_path, **model.overrides},
    }


def _steps(params: Params, place: str, recipe: Recipe, data: DataSize) -> int:
    images = data.trained_on(recipe.train_fraction)
    if images < recipe.batch_size:
        raise params.error(
            place, f"a batch of {recipe.batch_size} of only {images:,} training images"
        )
    return recipe.total_epochs * (images // recipe.batch_size)


def _on_meta(arguments: Mapping[str, Any]) -> nn.Module:
    with torch.device("meta"):
        return network_of(arguments)
