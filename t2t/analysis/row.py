"""The analysis of one row of the table: head redundancy of all its seeds, pictures of the first."""

import dataclasses
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import torch
from safetensors.torch import load_file

from t2t.analysis.correlation import rank_correlation, ranks_within
from t2t.analysis.gallery import INDEX, write_gallery
from t2t.analysis.look import Look, look_inside
from t2t.analysis.redundancy import Redundancy, compare_heads
from t2t.analysis.removal import remove_each_head
from t2t.analysis.sample import ValidationSample
from t2t.files import sealed, sha256_file, write_json
from t2t.training.config import network_of
from t2t.training.finished import finished_runs

REDUNDANCY = "redundancy.json"
_PICTURED = 3
# Decimals of the figures that are written down.
_DECIMALS = 6


def analyse_row(
    runs: Path, shards: Path, out: Path, *, images: int, removal_images: int
) -> dict[str, Any]:
    """Analyses the averaged weights of every `seed_*` run in `runs`; writes the folder `out`.

    It gets "redundancy.json", whose content is returned, pictures of the first seed's network, and
    "images.json", their list.

    Args:
        images: validation images over which heads and channels are compared.
        removal_images: validation images on which the network is scored without each head; of
            both, all that there are where the set has fewer.

    Raises:
        DataError: there is no run, or one was trained beside another validation shard.
        CheckpointError: a run's files are not what training wrote.
        ConfigError: the network has no heads to compare.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    finished = finished_runs(runs)
    configs = [run.config for run in finished]
    sample = ValidationSample(shards, configs[0], device)
    pictured, look, seeds = sample.pictured(_PICTURED), None, []
    for folder, config in finished:
        sample.expect_shard_of(folder, config)
        torch.set_num_threads(config["cpu_threads"])
        model = network_of(config).to(device)
        model.load_state_dict(load_file(folder / "ema.safetensors"))
        alike = compare_heads(model, (batch for batch, _ in sample.batches(images)))
        found = Redundancy(alike, remove_each_head(model, sample.batches(removal_images)))
        seeds.append({"seed": config["seed"], **found.plain()})
        look = look or look_inside(model, sample.normalized(pictured))
    content = {
        "row": configs[0]["row"],
        "scale": configs[0]["scale"],
        "images": sample.size(images),
        "removal_images": sample.size(removal_images),
        **seeds[0],
        "other_seeds": seeds[1:],
        "all_seeds": summary(seeds),
    }
    content = _rounded(content)
    images_seen = pictured.permute(0, 2, 3, 1).numpy()
    shown = write_gallery(cast(Look, look), images_seen, out, content["row"])
    names = [INDEX, *(picture.file for picture in shown)]
    content = sealed(content | {"files": {name: sha256_file(out / name) for name in names}})
    write_json(out / REDUNDANCY, content)
    return content


def summary(seeds: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Means over the heads of all seeds, and whether heads that are like their neighbours cost
    less.

    seeds: for each seed `layers`, as `Redundancy.plain` has them.

    Heads have no counterpart in a network of another seed, so they are pooled, not averaged. Deeper
    layers differ from early ones in both figures; `within_layers` compares heads of one layer.
    """
    layers = [layer for seed in seeds for layer in seed["layers"]]
    correlations = {}
    for key in ("drop_pct", "loss_rise"):
        groups = [layer["head_similarity"] for layer in layers], [layer[key] for layer in layers]
        pooled = ([value for group in side for value in group] for side in groups)
        correlations[key] = {
            "all": dataclasses.asdict(rank_correlation(*pooled)),
            "within_layers": dataclasses.asdict(rank_correlation(*map(ranks_within, groups))),
        }
    return {
        "seeds": [seed["seed"] for seed in seeds],
        "heads": sum(layer["heads"] for layer in layers),
        **{f"mean_{key}": _over_heads(layers, key) for key in ("drop_pct", "loss_rise")},
        "mean_similarity": _over_heads(layers, "head_similarity"),
        "mean_cka": statistics.fmean(
            layer["mean_cka"] for layer in layers for _ in range(layer["heads"])
        ),
        "rank_correlation": correlations,
    }


def _over_heads(layers: Sequence[Mapping[str, Any]], key: str) -> float:
    return statistics.fmean(value for layer in layers for value in layer[key])


def _rounded(value: Any) -> Any:
    """`value` with every float in it rounded."""
    if isinstance(value, float):
        return round(value, _DECIMALS)
    if isinstance(value, dict):
        return {key: _rounded(each) for key, each in value.items()}
    return [_rounded(each) for each in value] if isinstance(value, list) else value
