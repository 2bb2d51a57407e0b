"""A project of three rows whose graph is made up."""

import json

from pipelines.environment import ROOT
from pipelines.graph import Change, Kept, StageState
from pipelines.params.reader import Params
from t2t.training.journal import Journal
from t2t.training.record import record_run
from t2t.training.workspace import workspace_of

TEXT = (ROOT / "params.yaml").read_text()
DIGITS = "{source: digits, split_seed: 0, val_fraction: 0.2}"
ROWS = """rows:
  t2t_vit_14:
    title: T2T-ViT-14
    model: {backbone: t2t_vit, variant: t2t_vit_14}
    train: {}
    baseline: null
    paper: null
  vit_small:
    title: ViT-S/16
    model: {backbone: vit, variant: vit_small}
    train: {batch_size: 64, mix_group: 64}
    baseline: null
    paper: null
  resnet_50:
    title: ResNet-50
    model: {backbone: cnn, variant: resnet_50}
    train: {}
    baseline: null
    paper: null
derived: {}
analyses: {}
transfers: {}
released: {}
tables: []
claims: {}
"""
NAMES = ["t2t_vit_14", "vit_small", "resnet_50"]
GRAPH = {
    "prepare": [],
    "shard": ["prepare"],
    **{f"train@{row}": ["shard"] for row in NAMES},
    **{f"evaluate@{row}": [f"train@{row}", "shard"] for row in NAMES},
    "report": [f"evaluate@{row}" for row in NAMES],
}


def states(**changed):
    """The graph with a changed dependency in each stage that is named, `@` written as `__`."""
    changes = {name.replace("__", "@"): what for name, what in changed.items()}
    return [
        StageState(
            name,
            tuple(Change("dependency", what, "modified") for what in changes.get(name, ())),
            tuple(upstream),
            Kept.NOTHING,
        )
        for name, upstream in GRAPH.items()
    ]


def with_block(root, old, new):
    path = root / "params.yaml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    return Params(path)


def a_run(checkpoints, row, seed, speeds, started=0, **differs):
    """The record and the journal of a run, as training leaves them."""
    known = dict.fromkeys(("train", "val"), "0" * 64)
    resolved = {
        "scale": "digits", "data_set": "digits", "row": row, "seed": seed, "variant": row,
        "image_size": 32, "num_classes": 10, "width_factor": 0.25, "depth_factor": 0.3,
        "cpu_threads": 1, "recipe": {"betas": [0.9, 0.999]}, "overrides": {"drop_path_rate": 0.1},
        "shards": known,
        "digest": f"{row}{seed}{started}".ljust(64, "0"), "val_shard": "val.beton",
    } | differs  # fmt: skip
    record_run(checkpoints, resolved, {}, checkpoints)
    folder = workspace_of(checkpoints, resolved["digest"])
    record = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps(record | {"start_ms": started}))
    journal = Journal(folder / "journal.jsonl")
    for step, speed in enumerate(speeds):
        journal.append("epoch", step, metrics={}, timing={"images_per_s": speed})
    journal.append("evaluation", 0, metrics={})
    return folder
