"""Published weights in the form of a finished run, so that they are evaluated as any other row."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from t2t.data.sources.fetch import Remote, obtain_file
from t2t.data.sources.roots import Roots
from t2t.errors import CheckpointError, ConfigError, DataError
from t2t.files import json_text, sha256_file
from t2t.models.released import load_released, save_safetensors
from t2t.training.code import code_hashes
from t2t.training.config import RunConfig, network_of
from t2t.training.inputs import inputs_of
from t2t.training.record import record_run
from t2t.training.workspace import (
    is_finished,
    publish_result,
    run_digest,
    seal_result,
    sole_owner,
    workspace_of,
)

# Below a root: where weights lie that were fetched.
FOLDER = "released"
_URL = ("http://", "https://")


def obtain_weights(weights: str, sha256: str | None, roots: Roots) -> Path:
    """The file of published `weights`: a URL, kept in released/ below a root and fetched where it
    is in none, or a path below a root.

    Raises DataError where it is missing, saying where it is looked for, or has another checksum;
    EnvironmentProblem where a download fails; ConfigError for a path that leads out of the roots,
    and, naming the checksum of the file that is there now, where `sha256` is None.
    """
    path = _found_or_fetched(weights, sha256, roots)
    if sha256 is None:
        raise ConfigError(
            f"{path}: no checksum is known of these weights, so damage would go unnoticed; if it "
            f"is the right file, write `sha256: {sha256_file(path)}` into its row in params.yaml"
        )
    return path


def _found_or_fetched(weights: str, sha256: str | None, roots: Roots) -> Path:
    if weights.startswith(_URL):
        name = f"{FOLDER}/{weights.rsplit('/', 1)[-1]}"
        return obtain_file(roots, name, Remote(weights, sha256=sha256), download=True) / name
    if Path(weights).is_absolute() or ".." in Path(weights).parts:
        raise ConfigError(f"weights {weights!r}: a path must be relative, below {roots.described}")
    root = roots.find(weights)
    if root is None:
        raise DataError(f"{weights} is not in {roots.described}; put the file there")
    path = root / weights
    if sha256 is not None and (found := sha256_file(path)) != sha256:
        raise DataError(f"{path}: SHA-256 {found}, expected {sha256}; get it again")
    return path


def released_run(
    config: RunConfig,
    weights: Path,
    shards: Path,
    workspaces: Path,
    out: Path,
    tags: Mapping[str, str],
    expected_top1_pct: float | None,
) -> dict[str, Any]:
    """Puts the weights of the file `weights` into the folder `out`, as a run of `config` that was
    never trained here, and returns its config.json.

    The network is our own definition, the attention scale head_dim^-0.5 included, with which the
    authors' figures were reached (their `pretrained=True` sets another). Its images are prepared as
    those of a row of the scale. Published are averaged weights alone, so the raw ones are the same.
    expected_top1_pct: what others have measured of this file; it goes into config.json.

    Raises CheckpointError for a file that does not fit the network, its classes or image size.
    """
    inputs = inputs_of(config, shards, torch.device("cpu"))
    released = {"file": weights.name, "sha256": sha256_file(weights)}
    resolved = config.plain() | {
        "image_size": inputs.train.image_size,
        "num_classes": len(inputs.train.classes),
        "channel_mean": list(inputs.preparation.mean),
        "channel_std": list(inputs.preparation.std),
        "released": released | {"expected_top1_pct": expected_top1_pct},
    }
    hashes = {"train": inputs.train.manifest.sha256, "val": inputs.val.manifest.sha256}
    code = code_hashes("t2t.models.released", f"t2t.models.{config.backbone}")
    resolved |= {"digest": run_digest(resolved, hashes, code), "shards": hashes}
    folder = workspace_of(workspaces, resolved["digest"])
    with sole_owner(folder):
        record_run(workspaces, resolved, tags, shards)
        if not is_finished(folder):
            _write(_network(resolved, weights), resolved, folder)
        publish_result(folder, out)
    return resolved


def _network(resolved: Mapping[str, Any], weights: Path) -> nn.Module:
    model = network_of(resolved)
    loaded = load_released(model, weights)
    if loaded.remade:
        raise CheckpointError(
            f"{weights}: {', '.join(loaded.remade)} are of another number of classes than the "
            f"{resolved['num_classes']} of this scale; these weights cannot be scored on it"
        )
    if loaded.position != "kept":
        raise CheckpointError(
            f"{weights}: made for another image size than {resolved['image_size']} pixels; choose "
            "the row's phase, train or fine, accordingly"
        )
    return model


def _write(model: nn.Module, resolved: Mapping[str, Any], folder: Path) -> None:
    partial = folder / "result.partial"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    for name in ("ema", "raw"):
        save_safetensors(model, partial / f"{name}.safetensors")
    (partial / "config.json").write_text(json_text(resolved))
    (partial / "metrics.jsonl").write_text("")
    seal_result(folder, partial)
