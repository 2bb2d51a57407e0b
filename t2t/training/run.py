"""One run: a row of the table with one seed, from its resolved configuration to its files."""

import functools
import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch

from t2t.errors import EnvironmentProblem
from t2t.files import NO_ROOM
from t2t.models.released import save_safetensors
from t2t.training.ancestry import take_over, teacher_of
from t2t.training.checkpoint import delete_checkpoints
from t2t.training.code import code_hashes
from t2t.training.config import RunConfig, network_of
from t2t.training.devices import FIRST_PLACE, Place, compiled, on_device, settle_buckets
from t2t.training.ema import AveragedModel
from t2t.training.inputs import Inputs, inputs_of
from t2t.training.journal import read_journal
from t2t.training.launch import run_on
from t2t.training.loop import Fit
from t2t.training.objective import Objective, heads_apart
from t2t.training.optim import freeze, optimizer_of
from t2t.training.passes import has_batch_norm, memory_explained, passes_of
from t2t.training.ranks import Ranks, joined
from t2t.training.recipe import averaging_decay
from t2t.training.record import JOURNAL, record_run
from t2t.training.step import Precision, TrainingState, reseed
from t2t.training.stopping import stop_on_signal
from t2t.training.workspace import (
    is_finished,
    publish_result,
    run_digest,
    seal_result,
    sole_owner,
    workspace_of,
)

# Far from any step's number, so that the initial weights share no draw with a step's dropout.
_INIT_STEP = 2**40


def train_run(
    config: RunConfig,
    shards: Path,
    workspaces: Path,
    out: Path,
    tags: Mapping[str, str],
    place: Place = FIRST_PLACE,
) -> None:
    """Trains, or continues, or finds finished, and puts the run's files into `out`.

    shards: the folder of the shards. The files are ema.safetensors and raw.safetensors (weights),
    metrics.jsonl (a line per epoch), and config.json. They depend on nothing but the
    configuration, the shards, the code and the machine: its kind, and how many devices the run is
    given. `tags` are shown by trackers and change nothing; `place` says which devices are the
    run's.
    """
    work = functools.partial(_train, config, shards, workspaces, out, tags, place)
    with _disk_full_explained(workspaces):
        if place.processes == 1:
            work()
        else:
            run_on(place.processes, work, config.label)


def _train(
    config: RunConfig,
    shards: Path,
    workspaces: Path,
    out: Path,
    tags: Mapping[str, str],
    place: Place,
) -> None:
    """What each process of a run does; the first one alone writes."""
    torch.set_num_threads(config.cpu_threads)
    device = place.device()
    inputs = inputs_of(config, shards, device, place.processes)
    resolved = _resolved(config, inputs)
    folder = workspace_of(workspaces, resolved["digest"])
    with joined(device) as ranks, sole_owner(folder) if ranks.is_first else nullcontext():
        if ranks.is_first:
            record_run(workspaces, resolved, tags, shards)
        ranks.barrier()
        if not is_finished(folder):
            fit = _fit(config, resolved, inputs, folder, device, ranks, place.slot)
            with stop_on_signal() as stop:
                fit.run(stop)
            if ranks.is_first:
                _finish(fit, resolved)
        if ranks.is_first:
            delete_checkpoints(folder)
            publish_result(folder, out)


def _resolved(config: RunConfig, inputs: Inputs) -> dict[str, Any]:
    """The content of config.json: the configuration, what the shards add, and the run's digest."""
    train, val = inputs.train, inputs.val
    resolved = config.plain() | {
        "image_size": train.image_size,
        "num_classes": len(train.classes),
        "train_images": train.num_samples,
        "channel_mean": list(inputs.preparation.mean),
        "channel_std": list(inputs.preparation.std),
    }
    hashes = {"train": train.manifest.sha256, "val": val.manifest.sha256}
    code = code_hashes(__name__, f"t2t.models.{config.backbone}")
    return resolved | {"digest": run_digest(resolved, hashes, code), "shards": hashes}


def _fit(
    config: RunConfig,
    resolved: Mapping[str, Any],
    inputs: Inputs,
    folder: Path,
    device: torch.device,
    ranks: Ranks,
    bar_line: int,
) -> Fit:
    recipe = config.recipe
    reseed(config.seed, _INIT_STEP)
    model = network_of(resolved)
    take_over(model, config.parent)
    freeze(model, recipe.frozen)
    teacher = teacher_of(config.parent, recipe.teacher, resolved)
    model = on_device(model, device)
    if teacher is not None:
        teacher = compiled(on_device(teacher, device), device)
    total_steps = recipe.total_epochs * inputs.train.num_batches
    state = TrainingState(
        model,
        AveragedModel(model, averaging_decay(recipe, total_steps)),
        optimizer_of(model, recipe),
        Precision(device),
    )
    network = ranks.share(compiled(heads_apart(model), device), device)
    by_groups = has_batch_norm(model)
    passes = passes_of(ranks, recipe.batch_size, recipe.mix_group, by_groups=by_groups)
    if ranks.count > 1:
        size = resolved["image_size"]
        with memory_explained(config.label, device, len(passes[0])):
            settle_buckets(network, state, (len(passes[0]), 3, size, size), device)
    fit = Fit(
        state=state,
        network=network,
        objective=Objective(teacher),
        recipe=recipe,
        inputs=inputs,
        passes=passes,
        seed=config.seed,
        digest=resolved["digest"],
        folder=folder,
        label=config.label,
        device=device,
        ranks=ranks,
        bar_line=bar_line,
    )
    fit.resume()
    return fit


def _finish(fit: Fit, resolved: Mapping[str, Any]) -> None:
    """Writes the run's files and makes them its result."""
    partial = fit.folder / "result.partial"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    for name, module in (("ema", fit.state.average.module), ("raw", fit.state.model)):
        save_safetensors(module, partial / f"{name}.safetensors")
    (partial / "config.json").write_text(json.dumps(resolved, indent=2, sort_keys=True) + "\n")
    with open(partial / "metrics.jsonl", "w", encoding="utf-8") as stream:
        for event in read_journal(fit.folder / JOURNAL):
            if event["kind"] == "epoch":
                line = {"step": event["step"], **event["metrics"]}
                stream.write(json.dumps(line) + "\n")
    seal_result(fit.folder, partial)


@contextmanager
def _disk_full_explained(folder: Path) -> Iterator[None]:
    """A full disk as the user's to mend. What was there stays: files are replaced when whole."""
    try:
        yield
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
        raise EnvironmentProblem(
            f"{folder}: no room left on the disk ({error.strerror}); every finished checkpoint is "
            "kept, free some space and run it again to continue"
        ) from None
