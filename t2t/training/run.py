"""One run: a row of the table with one seed, from its resolved configuration to its files."""

import dataclasses
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn

from t2t.data.augment import ErasePolicy
from t2t.data.loader import CropPolicy, ShardLoader
from t2t.data.mixing import MixPolicy
from t2t.models import create
from t2t.training.checkpoint import delete_checkpoints
from t2t.training.code import code_hashes
from t2t.training.ema import AveragedModel
from t2t.training.journal import read_journal
from t2t.training.loop import Fit, Inputs
from t2t.training.optim import adamw
from t2t.training.recipe import Recipe, averaging_decay
from t2t.training.record import record_run
from t2t.training.step import Precision, Preparation, TrainingState, reseed
from t2t.training.stopping import stop_on_signal
from t2t.training.workspace import (
    is_finished,
    publish_result,
    run_digest,
    seal_result,
    sole_owner,
    workspace_of,
)

TRAIN_SHARD, VAL_SHARD = "train.beton", "val.beton"
# Far from any step's number, so that the initial weights share no draw with a step's dropout.
_INIT_STEP = 2**40


@dataclass(frozen=True)
class RunConfig:
    """What is to be trained: a variant of a backbone, shrunk by the factors, with one seed."""

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

    @property
    def label(self) -> str:
        """The run's name, for people."""
        return f"{self.row}-seed{self.seed}"


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


def train_run(
    config: RunConfig,
    shards: Path,
    workspaces: Path,
    out: Path,
    tags: Mapping[str, str],
    slot: int = 0,
) -> None:
    """Trains, or continues, or finds finished, and puts the run's files into `out`.

    shards: the folder of the two shards. The files are ema.safetensors and raw.safetensors
    (weights), metrics.jsonl (a line per epoch), and config.json. They depend on nothing but the
    configuration, the shards, the code and the kind of machine. `tags` are shown by trackers and
    change nothing; `slot` is the GPU's number and the progress bar's line.
    """
    torch.set_num_threads(config.cpu_threads)
    device = torch.device(f"cuda:{slot}" if torch.cuda.is_available() else "cpu")
    inputs = _inputs(config, shards)
    resolved = _resolved(config, inputs)
    hashes = {"train": inputs.train.manifest.sha256, "val": inputs.val.manifest.sha256}
    code = code_hashes(__name__, f"t2t.models.{config.backbone}")
    digest = run_digest(resolved, hashes, code)
    resolved |= {"digest": digest, "shards": hashes}
    folder = workspace_of(workspaces, digest)
    with sole_owner(folder):
        record_run(workspaces, resolved, tags, shards)
        if not is_finished(folder):
            fit = _fit(config, resolved, inputs, folder, device, slot)
            fit.resume()
            with stop_on_signal() as stop:
                fit.run(stop)
            _finish(fit, resolved)
        publish_result(folder, out)


def _inputs(config: RunConfig, shards: Path) -> Inputs:
    recipe = config.recipe
    train = ShardLoader(
        shards / TRAIN_SHARD,
        batch_size=recipe.batch_size,
        seed=config.seed,
        shuffle=True,
        crop=CropPolicy(scale=recipe.crop_scale, ratio=recipe.crop_ratio),
        flip_prob=recipe.flip_prob,
        drop_last=True,
    )
    val = validation_loader(shards)
    preparation = Preparation(
        mix=MixPolicy(
            recipe.mixup_alpha, recipe.cutmix_alpha, recipe.mix_switch_prob, recipe.mix_prob
        ),
        erasing=ErasePolicy(recipe.erase_prob),
        label_smoothing=recipe.label_smoothing,
        num_classes=len(train.classes),
        mean=tuple(train.manifest.channel_mean),
        std=tuple(train.manifest.channel_std),
    )
    return Inputs(train, val, preparation)


def validation_loader(shards: Path) -> ShardLoader:
    """Every validation image below `shards` once, in order, as it is stored."""
    return ShardLoader(
        shards / VAL_SHARD,
        batch_size=256,
        seed=0,
        shuffle=False,
        crop=None,
        flip_prob=0.0,
        drop_last=False,
    )


def _resolved(config: RunConfig, inputs: Inputs) -> dict[str, Any]:
    """The configuration with what the shards add, and drop-path among the network's arguments."""
    resolved = dataclasses.asdict(config)
    resolved["overrides"] = {"drop_path_rate": config.recipe.drop_path, **config.overrides}
    resolved |= {
        "image_size": inputs.train.manifest.image_size,
        "num_classes": inputs.preparation.num_classes,
        "channel_mean": list(inputs.preparation.mean),
        "channel_std": list(inputs.preparation.std),
    }
    return resolved


def _fit(
    config: RunConfig,
    resolved: Mapping[str, Any],
    inputs: Inputs,
    folder: Path,
    device: torch.device,
    slot: int,
) -> Fit:
    recipe = config.recipe
    reseed(config.seed, _INIT_STEP)
    model = network_of(resolved).to(device)
    total_steps = recipe.total_epochs * inputs.train.num_batches
    state = TrainingState(
        model,
        AveragedModel(model, averaging_decay(recipe, total_steps)),
        adamw(model, lr=recipe.lr, weight_decay=recipe.weight_decay, betas=recipe.betas),
        Precision(device),
    )
    return Fit(
        state, recipe, inputs, config.seed, resolved["digest"], folder, config.label, device, slot
    )


def _finish(fit: Fit, resolved: Mapping[str, Any]) -> None:
    """Writes the run's files, makes them its result, and drops the checkpoints."""
    partial = fit.folder / "result.partial"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    for name, module in (("ema", fit.state.average.module), ("raw", fit.state.model)):
        weights = {key: value.cpu().contiguous() for key, value in module.state_dict().items()}
        save_file(weights, partial / f"{name}.safetensors")
    (partial / "config.json").write_text(json.dumps(resolved, indent=2, sort_keys=True) + "\n")
    with open(partial / "metrics.jsonl", "w", encoding="utf-8") as stream:
        for event in read_journal(fit.journal.path):
            if event["kind"] == "epoch":
                line = {"step": event["step"], **event["metrics"]}
                stream.write(json.dumps(line) + "\n")
    seal_result(fit.folder, partial)
    delete_checkpoints(fit.folder)
