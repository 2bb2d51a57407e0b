"""Kills writers at random moments.

Something is there already; a child writes the next version over it and is killed with SIGKILL. What
is left must be the old or the new version, or be refused by its reader; the same work must then
succeed.
"""

import os
import random
import signal
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from t2t.data.loader import ShardLoader
from t2t.data.shards import write_shard
from t2t.data.sources import open_prepared, prepare
from t2t.errors import T2TError
from t2t.evaluation.complexity import Complexity
from t2t.evaluation.predictions import Predictions
from t2t.evaluation.row import RowEvaluation, write_evaluation
from t2t.files import sha256_text
from t2t.reporting.collect import Report, collect
from t2t.reporting.page import write_report
from t2t.training.checkpoint import load_checkpoint, save_checkpoint
from t2t.training.validate import Score
from tests.data.faulty import Steady
from tests.reporting.synthetic import DIGITS, table_7, write_csv, write_results

# The last of them come late, when many a child has ended.
TRIES_PER_KILL = 5
METRICS_ROW = {"t2t_vit_14": table_7()["t2t_vit_14_wo_t2t"]}


@dataclass(frozen=True)
class Work:
    """Something that is written: `write` makes a version, `read` says which versions are there.

    partly: whether several files may be of two versions, each whole, until the next time.
    """

    write: Callable[[Path, int], None]
    read: Callable[[Path], set[Any]]
    partly: bool = False


def write_prepared(folder: Path, version: int) -> None:
    prepare("digits", folder / "raw", split_seed=version, val_fraction=0.9)


def read_prepared(folder: Path) -> set[Any]:
    return {open_prepared(folder / "raw").fingerprint}


def write_a_shard(folder: Path, version: int) -> None:
    write_shard(
        Steady(40 + version, 64), folder / "train.beton", split="train", classes=("a", "b"),
        image_size=64, source_fingerprint=str(version), workers=1,
    )  # fmt: skip


def read_a_shard(folder: Path) -> set[Any]:
    loader = ShardLoader(
        folder / "train.beton", batch_size=64, seed=0, shuffle=False, crop=None, flip_prob=0.0,
        drop_last=False, engine="torch",
    )  # fmt: skip
    images = sum(len(batch.labels) for batch in loader.epoch(0))
    return {(images, loader.manifest.source_fingerprint)}


def write_a_checkpoint(folder: Path, version: int) -> None:
    weights = torch.full((1000, 1000), float(version))
    save_checkpoint(folder, version, {"digest": "d", "state": weights})


def read_a_checkpoint(folder: Path) -> set[Any]:
    stored = load_checkpoint(folder)
    assert stored is not None
    return set(stored["state"].unique().tolist())


def write_metrics(folder: Path, version: int) -> None:
    """The curves, and what an evaluation writes beside them."""
    (folder / "curves").mkdir(exist_ok=True)
    names = "seed,epoch,step,lr,train_loss,val_loss,val_top1_pct,val_top1_raw_pct"
    curve = folder / "curves" / "t2t_vit_14.csv"
    write_csv(curve, names, [[0, 0, 40, 1e-3, 1.5, 1.5, 50.0, 50.0]])
    config = {"row": "t2t_vit_14", "scale": "digits", "image_size": 32, "num_classes": 10}
    config |= {"seed": 0, "digest": f"{version}"}
    score = Score(50.0 + version / 10, 90.0, 1.0, 360)
    nothing = np.zeros(360, np.int32)
    answers = Predictions(nothing, np.zeros((360, 5), np.int32), nothing.astype(np.float32))
    evaluation = RowEvaluation(
        (config,), (score,), (score,), Complexity(10**6, 10**6, 10**9),
        sha256_text(curve.read_bytes().decode()), (answers,), ({},), ("a", "b"),
        "0" * 64,
    )  # fmt: skip
    metrics, seeds = (folder / kind / "t2t_vit_14" for kind in ("metrics", "evaluations"))
    write_evaluation(evaluation, metrics.with_suffix(".json"), seeds.with_suffix(".csv"))


def read_metrics(folder: Path) -> set[Any]:
    report = collect(METRICS_ROW, DIGITS, folder)
    (row,) = report.rows
    assert row.result is not None
    return {row.result.metrics.top1_pct, row.result.seeds[0].top1_pct}


def write_a_report(folder: Path, version: int) -> None:
    """One of two reports, in turn; what they must be is made once, by nobody who is killed."""
    for parity in (0, 1):
        if not (folder / f"right_{parity}").exists():
            write_results(folder / f"results_{parity}", METRICS_ROW, epochs=2, seeds=1 + parity)
            write_report(_report(folder, parity), folder / f"right_{parity}")
    write_report(_report(folder, version % 2), folder / "out")


def _report(folder: Path, parity: int) -> Report:
    return collect(METRICS_ROW, DIGITS, folder / f"results_{parity}")


def read_a_report(folder: Path) -> set[Any]:
    """Of which of the two reports each file is."""
    found = set()
    for path in (folder / "out").glob("[!.]*"):
        rights = [(folder / f"right_{p}" / path.name).read_bytes() for p in (0, 1)]
        found.add(rights.index(path.read_bytes()))
    return found


WORKS = {
    "prepared data": Work(write_prepared, read_prepared),
    "a shard": Work(write_a_shard, read_a_shard),
    "a checkpoint": Work(write_a_checkpoint, read_a_checkpoint),
    "metrics": Work(write_metrics, read_metrics),
    "a report": Work(write_a_report, read_a_report, partly=True),
}


def kill(work: Work, folder: Path, count: int) -> Iterator[dict[str, Any]]:
    """Kills `count` children, a version each, from early to late; what was left each time.

    A child that had ended before its signal came is no fault: then another is drawn, a little
    earlier. Raises RuntimeError where that does not come to `count`, or where a child fails.
    """
    work.write(folder, 0)
    work.read(folder)
    began = time.monotonic()
    work.write(folder, 1)
    longest_s = 1.2 * (time.monotonic() - began)
    draws, kills = random.Random(0), 0
    for version in range(2, 2 + TRIES_PER_KILL * count):
        if kills == count:
            return
        old = work.read(folder)
        was_killed = _killed(work, folder, version, longest_s * (kills + draws.random()) / count)
        if not was_killed:
            longest_s *= 0.95
            continue
        kills += 1
        left = _left(work, folder)
        work.write(folder, version)
        new = work.read(folder)
        sound = left == "refused" or left in (old, new) or work.partly and left <= old | new
        rest = [path.name for path in folder.rglob("*.partial")]
        yield {
            "held": sound and not rest,
            "what": f"{left} after {old}, {rest}",
            "noticed": True,
        }
    if kills < count:
        raise RuntimeError(f"{kills} of {count} children were killed before they ended")


def _killed(work: Work, folder: Path, version: int, after_s: float) -> bool:
    """Whether a child that writes was killed, and had not ended before. Raises RuntimeError where
    it failed by itself."""
    child = os.fork()
    if child == 0:
        try:
            work.write(folder, version)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    time.sleep(after_s)
    os.kill(child, signal.SIGKILL)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code > 0:
        raise RuntimeError(f"the child that wrote version {version} failed")
    return code == -signal.SIGKILL


def _left(work: Work, folder: Path) -> set[Any] | str:
    try:
        return work.read(folder)
    except T2TError:
        return "refused"
