"""What a project makes and reads again: runs, metrics, journals; published weights; params.yaml."""

import dataclasses
import hashlib
import json
import typing
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ruamel.yaml import YAML

from pipelines.check import check_params
from pipelines.params.training import resolve_recipe
from t2t.data.shards import write_shard
from t2t.data.sources import Roots, open_prepared, prepare
from t2t.evaluation.paired import differences
from t2t.evaluation.predictions import Predictions, read_row, write_predictions
from t2t.evaluation.released_run import obtain_weights
from t2t.evaluation.row import evaluate_row
from t2t.files import sha256_file
from t2t.models import create, load_released, save_safetensors
from t2t.reporting.collect import collect
from t2t.reporting.table import table_csv, table_markdown
from t2t.training.journal import Journal, read_journal
from t2t.training.recipe import Recipe
from t2t.training.record import JOURNAL, read_run_record, record_run
from t2t.training.run import train_run
from tests.reporting.synthetic import DIGITS, Results, table_7, write_results
from tests.reporting.synthetic_parts import ANALYSED, TRANSFERS, write_parts
from tests.runs import FirstImages, changed, short_config

ROOT = Path(__file__).resolve().parents[2]
ROWS = {key: table_7()[key] for key in ("t2t_vit_14_wo_t2t", "t2t_vit_14")}


def make_runs(folder: Path) -> None:
    """Two seeds of a row; their shards lie outside, so that they stay sound."""
    shards = folder.parent / "shards"
    prepare("digits", shards / "raw", split_seed=0, val_fraction=0.2)
    source = open_prepared(shards / "raw")
    for split, count in (("train", 60), ("val", 40)):
        write_shard(
            FirstImages(source.split(split), count), shards / f"{split}.beton", split=split,
            classes=source.classes, source_fingerprint=source.fingerprint, image_size=32,
        )  # fmt: skip
    short = changed(short_config(), epochs=1, cooldown_epochs=0, warmup_epochs=0)
    for seed in (0, 1):
        config = dataclasses.replace(short, seed=seed)
        train_run(config, shards, folder.parent / "work", folder / f"seed_{seed}", {})


def read_runs(folder: Path) -> Any:
    evaluation = evaluate_row(folder, folder.parent / "shards")
    return evaluation.summary(), evaluation.metrics_per_seed(), evaluation.curves_sha256


PUBLISHED = {"zip.pth": True, "legacy.pth": False}


def make_published(folder: Path) -> None:
    """In every form that published weights have; what is known of them lies outside."""
    torch.manual_seed(0)
    model = _published_network()
    for name, as_zip in PUBLISHED.items():
        content = {"epoch": 3, "state_dict_ema": model.state_dict()}
        torch.save(content, folder / name, _use_new_zipfile_serialization=as_zip)
    save_safetensors(model, folder / "weights.safetensors")
    known = {path.name: sha256_file(path) for path in folder.iterdir()}
    (folder.parent / "known.json").write_text(json.dumps(known))


def read_published(folder: Path) -> Any:
    """The weights as a row takes them, and what has a checksum of its own as anybody does."""
    known = json.loads((folder.parent / "known.json").read_text())
    roots = Roots(shared=folder)
    others = (name for name in known if name != "zip.pth")
    paths = [folder / "zip.pth", *(obtain_weights(name, known[name], roots) for name in others)]
    return [_weights_of(path) for path in paths]


def _weights_of(path: Path) -> str:
    model = _published_network()
    load_released(model, path)
    content = b"".join(value.numpy().tobytes() for value in model.state_dict().values())
    return hashlib.sha256(content).hexdigest()


def _published_network() -> torch.nn.Module:
    return create("t2t_vit_7", image_size=32, num_classes=10, width_factor=0.1, depth_factor=0.3)


def make_metrics(folder: Path) -> None:
    write_results(folder, ROWS, epochs=4)


def read_metrics(folder: Path) -> Any:
    """Every figure that the report shows of these files."""
    report = collect(ROWS, DIGITS, folder)
    curves = [row.result and [p.model_dump() for p in row.result.curve] for row in report.rows]
    return table_csv(report), table_markdown(report), curves


def make_measurements(folder: Path) -> None:
    """What a report shows beside the rows; their own files lie outside, so that they stay sound."""
    rows = folder.parent / "rows"
    write_results(rows, ROWS, epochs=2)
    write_parts(Results(ROWS, folder))


def read_measurements(folder: Path) -> Any:
    """All of a report, which is what is shown."""
    rows = folder.parent / "rows"
    for part in ("metrics", "evaluations", "curves"):
        (folder / part).symlink_to(rows / part)
    try:
        return collect(ROWS, DIGITS, folder, transfers=TRANSFERS, analyses=[ANALYSED])
    finally:
        for part in ("metrics", "evaluations", "curves"):
            (folder / part).unlink()


def make_predictions(folder: Path) -> None:
    """Two rows with two seeds each."""
    draws = np.random.default_rng(0)
    labels = draws.integers(0, 10, 300, dtype=np.int32)
    for row in ("one", "other"):
        for seed in (0, 1):
            top = draws.integers(0, 10, (300, 5), dtype=np.int32)
            answers = Predictions(labels, top, draws.random(300, np.float32))
            write_predictions(answers, folder / row / f"seed_{seed}.parquet")


def read_predictions(folder: Path) -> Any:
    """The difference that a report shows of them."""
    return differences({row: read_row(folder / row) for row in ("one", "other")}, {"one": "other"})


def make_workspace(folder: Path, digest: str = "d" * 64) -> None:
    """What a run of five epochs has left for trackers, without a result."""
    resolved: dict[str, Any] = {"digest": digest, "scale": "tiny", "row": "r", "seed": 0}
    resolved |= {"data_set": "digits"}
    resolved |= {"variant": "v", "image_size": 32, "num_classes": 10, "width_factor": 0.25}
    resolved |= {"depth_factor": 0.25, "cpu_threads": 1, "recipe": {"lr": 0.1}, "overrides": {}}
    resolved |= {"shards": {"train": "1" * 64, "val": "2" * 64}, "val_shard": "val.beton"}
    record_run(folder, resolved, {"git_commit": "c"}, Path("shards"))
    journal = Journal(folder / digest[:32] / JOURNAL)
    for step in range(1, 6):
        metrics = {"epoch": step, "train_loss": 2.0 / step}
        journal.append("epoch", step, metrics=metrics, timing={"images_per_s": 100.5})


def read_workspace(folder: Path) -> Any:
    """What a tracker is told."""
    workspace = folder / ("d" * 32)
    return read_run_record(workspace), list(read_journal(workspace / JOURNAL))


def whole_lines(folder: Path, path: Path, right: Any) -> Any:
    """What follows the last line end of a journal is a kill's, and left out."""
    record, events = right
    return record, events[: path.read_bytes().count(b"\n")] if path.name == JOURNAL else events


def make_params(folder: Path) -> None:
    """The project's own, with fewer rows: each mutant of the whole file would take a second."""
    text = (ROOT / "params.yaml").read_text()
    cuts = [
        ("  t2t_vit_14_wide:", "\nderived:"),
        ("  deit_small_distilled:", "\n# Rows whose networks"),
        ("  vit_small: {images", "  t2t_vit_14: {images"),
        ("  cifar10_t2t_vit_19:", "\nreleased:"),
        ("#   t2t_vit_7_released:", "\n# The paper's tables"),
        ("tables:\n", "\n# What is said"),
        ("  t2t_over_vit_small:", "  larger_images:"),
        ("  deit_distillation:", None),
    ]
    for first, behind in cuts:
        end = len(text) if behind is None else text.index(behind)
        text = text[: text.index(first)] + text[end:]
    (folder / "params.yaml").write_text(f"tables: []\n{text}")


def read_params(folder: Path) -> Any:
    params = check_params(folder / "params.yaml")
    return [
        [scale, section, row, dataclasses.asdict(resolve_recipe(params, scale, row, section))]
        for scale in params.tree["scales"]
        for section in ("rows", "derived")
        for row in params.tree[section]
    ]


def params_by_hand(folder: Path, path: Path, right: Any) -> Any:
    """What the damaged file says by a reading of its own: damage may be another valid value."""
    tree = YAML(typ="safe", pure=True).load(path.read_text())
    known = set(typing.get_type_hints(Recipe))
    found = []
    for scale, sizes in tree["scales"].items():
        for section in ("rows", "derived"):
            for name, row in tree[section].items():
                fine = sizes["fine"]["train"] if row.get("phase") == "fine" else {}
                merged = {**tree["recipe"], **sizes["train"], **fine, **row["train"]}
                recipe = {key: _tuple(merged[key]) for key in known}
                found.append([scale, section, name, recipe])
    return found


def _tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
