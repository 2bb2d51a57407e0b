"""The files that are damaged: how sound ones are made, and what their reader gives."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from t2t.files import sha256_file
from t2t.training.checkpoint import load_checkpoint, save_checkpoint
from tests.faults import kinds_of_files, kinds_of_results


@dataclass(frozen=True)
class Kind:
    """One kind of files. `make` writes sound ones into a folder; `read` gives what the project
    makes of them, to be compared; `expected` what it should, given the damaged file and what the
    sound ones gave.

    damaged: patterns of the names of files that may be damaged. `names`: what an error may call
    the damaged file; None for its own name.
    """

    name: str
    make: Callable[[Path], None]
    read: Callable[[Path], Any]
    damaged: Sequence[str] = ("*",)
    expected: Callable[[Path, Path, Any], Any] = lambda folder, path, right: right
    names: Callable[[Path], Sequence[str]] = lambda path: (path.name,)

    def may_be_damaged(self, path: Path) -> bool:
        return path.is_file() and any(path.match(pattern) for pattern in self.damaged)

    def names_of(self, path: Path) -> Sequence[str]:
        return self.names(path)


def make_checkpoints(folder: Path) -> None:
    """Two of one run, and one of another that has no other."""
    torch.manual_seed(0)
    for run, step in (("two", 1), ("two", 2), ("one", 1)):
        weights = {"weight": torch.randn(40, 40), "step": step}
        save_checkpoint(folder / run, step, {"digest": "d", "state": weights})


def read_checkpoints(folder: Path) -> Any:
    stored = [load_checkpoint(folder / run) for run in ("two", "one")]
    return [None if one is None else _state_of(one) for one in stored]


def newest_sound(folder: Path, path: Path, right: Any) -> Any:
    """Where the newer of two is damaged, the older one is what training goes on from."""
    newer = path.parent.name == "two" and path.name.startswith("step_000000002")
    if not newer or sha256_file(path) in path.name:
        return right
    (older,) = path.parent.glob("step_000000001-*.pt")
    return [_state_of(torch.load(older, weights_only=True)), right[1]]


def _state_of(stored: Any) -> tuple[str, int]:
    state = stored["state"]
    return hashlib.sha256(state["weight"].numpy().tobytes()).hexdigest(), state["step"]


KINDS = {
    kind.name: kind
    for kind in (
        Kind(
            "raw shard",
            kinds_of_files.make_raw_shard,
            kinds_of_files.read_shard,
            damaged=("*.beton",),
        ),
        Kind(
            "JPEG shard",
            kinds_of_files.make_jpeg_shard,
            kinds_of_files.read_shard,
            damaged=("*.beton",),
        ),
        Kind(
            "shard manifest",
            kinds_of_files.make_raw_shard,
            kinds_of_files.read_shard,
            damaged=("*.json",),
            names=lambda path: (path.name, path.stem),
        ),
        Kind(
            "prepared data",
            kinds_of_files.make_prepared,
            kinds_of_files.read_prepared,
            names=lambda path: (path.name, str(path.parent)),
        ),
        Kind(
            "image file",
            kinds_of_files.make_images,
            kinds_of_files.read_images,
            expected=kinds_of_files.images_by_pillow,
        ),
        Kind("archive", kinds_of_files.make_archives, kinds_of_files.read_archives),
        Kind(
            "checkpoint",
            make_checkpoints,
            read_checkpoints,
            expected=newest_sound,
            names=lambda path: (str(path.parent),),
        ),
        Kind(
            "published weights",
            kinds_of_results.make_published,
            kinds_of_results.read_published,
        ),
        Kind("finished run", kinds_of_results.make_runs, kinds_of_results.read_runs),
        Kind(
            "metrics",
            kinds_of_results.make_metrics,
            kinds_of_results.read_metrics,
        ),
        Kind("predictions", kinds_of_results.make_predictions, kinds_of_results.read_predictions),
        Kind(
            "measurements",
            kinds_of_results.make_measurements,
            kinds_of_results.read_measurements,
        ),
        Kind(
            "journal",
            kinds_of_results.make_workspace,
            kinds_of_results.read_workspace,
            expected=kinds_of_results.whole_lines,
        ),
        Kind(
            "params.yaml",
            kinds_of_results.make_params,
            kinds_of_results.read_params,
            expected=kinds_of_results.params_by_hand,
        ),
    )
}
