"""The graph keeps its word: what a stage imports and reads is what it declares."""

import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from pipelines.graph import stage_inputs
from pipelines.params.reader import Params
from pipelines.run import VERBS
from tests.contracts.imports import ROOT, import_closure

ROWS = list(Params(ROOT / "params.yaml").tree["rows"])


def stage_of(verb: str, row: str = "t2t_vit_14") -> str:
    return f"{verb}@{row}" if verb in ("train", "evaluate") else verb


@pytest.fixture(scope="module")
def inputs():
    return {verb: stage_inputs(ROOT, stage_of(verb)) for verb in VERBS}


@pytest.mark.parametrize("verb", VERBS)
def test_deps_cover_imports(verb, inputs):
    entry = ROOT / "pipelines" / "stages" / f"{verb}.py"
    declared = inputs[verb].paths
    backbone = ROOT / "t2t" / "models" / "t2t_vit.py"
    needed = import_closure(entry) | (
        import_closure(backbone) if verb in ("train", "evaluate") else set()
    )
    uncovered = [
        str(path.relative_to(ROOT))
        for path in needed
        if path.stat().st_size and not any(path.is_relative_to(root) for root in declared)
    ]
    assert not uncovered, f"dvc.yaml: {verb} imports but does not declare {sorted(uncovered)}"


@pytest.mark.parametrize("verb", VERBS)
def test_no_dep_is_superfluous(verb, inputs):
    """A code file that a stage declares without importing it would re-run the stage for nothing."""
    entry = ROOT / "pipelines" / "stages" / f"{verb}.py"
    imported = import_closure(entry) | import_closure(ROOT / "t2t" / "models" / "t2t_vit.py")
    for path in inputs[verb].paths:
        if path.suffix == ".py":
            assert path in imported, (
                f"{verb} declares {path.relative_to(ROOT)}, which it never imports"
            )


def test_the_import_check_sees_through_functions(tmp_path):
    module = tmp_path / "lazy.py"
    module.write_text("def f():\n    from t2t.training import recipe\n    return recipe\n")
    assert ROOT / "t2t" / "training" / "recipe.py" in import_closure(module)


def test_a_backbone_is_a_dependency_of_its_own_rows_alone(inputs):
    vit = ROOT / "t2t" / "models" / "vit.py"
    for verb in ("train", "evaluate"):
        assert not any(vit.is_relative_to(path) for path in inputs[verb].paths)
        assert vit in stage_inputs(ROOT, stage_of(verb, "vit_small")).paths


def test_every_verb_has_a_stage_file_and_nothing_else_is_there():
    files = {path.stem for path in (ROOT / "pipelines" / "stages").glob("*.py")} - {"__init__"}
    assert files == set(VERBS)
    for verb in VERBS:
        assert callable(importlib.import_module(f"pipelines.stages.{verb}").main)


def test_commands_pass_through_the_runner():
    stages = YAML(typ="safe").load((ROOT / "dvc.yaml").read_text())["stages"]
    assert set(stages) == set(VERBS)
    for verb, stage in stages.items():
        command = stage.get("do", stage)["cmd"]
        assert command.startswith(f"python -m pipelines.run {verb} ")


class Asked(Params):
    """Params that sees nothing but the keys a stage has declared."""

    declared: tuple[str, ...] = ()

    def value(self, key: str):
        inside = any(f"{key}.".startswith(f"{known}.") for known in self.declared)
        assert inside, f"reads {key}, which dvc.yaml does not declare: {self.declared}"
        return super().value(key)


@pytest.mark.parametrize("verb", ["prepare", "shard", "train", "report"])
def test_params_cover_reads(verb, inputs, monkeypatch, tmp_path):
    """Runs the stage's own reading of params.yaml; the work behind it is cut off."""
    stage = importlib.import_module(f"pipelines.stages.{verb}")
    monkeypatch.setattr(Asked, "declared", inputs[verb].param_keys)
    monkeypatch.setattr(stage, "Params", Asked)
    monkeypatch.chdir(ROOT)
    work = {
        "prepare": ["prepare"],
        "shard": ["open_prepared", "write_shard"],
        "train": ["run_side_by_side", "write_curves"],
        "report": ["write_report"],
    }[verb]
    calls = []
    for name in work:
        monkeypatch.setattr(stage, name, lambda *args, **kwargs: calls.append(args) or Stub())
    folder = str(tmp_path)
    arguments = {
        "prepare": ["--out", folder],
        "shard": ["--raw", folder, "--out", folder],
        "train": ["--row", "t2t_vit_14", "--shards", folder, "--checkpoints", folder]
        + ["--out", folder, "--curves", folder],
        "report": ["--metrics", folder, "--evaluations", folder, "--curves", folder]
        + ["--out", folder],
    }[verb]
    stage.main(["--scale", "digits", *arguments])
    assert calls


class Stub:
    """Stands for what the work gives back."""

    classes = ()
    fingerprint = ""

    def __getitem__(self, name):
        return {}

    def split(self, name):
        return []


def test_evaluate_reads_no_params():
    assert "params" not in (ROOT / "pipelines" / "stages" / "evaluate.py").read_text()


def test_every_row_builds():
    """At the digits scale, by the arguments that a run's config.json holds."""
    from t2t.models import create

    params = Params(ROOT / "params.yaml")
    size = params.tree["scales"]["digits"]["model"]
    for row in ROWS:
        model = params.tree["rows"][row]["model"]
        create(model["variant"], backbone=model["backbone"], image_size=32, num_classes=10, **size)


def test_bare_gpu_machine():
    """Networks and training import where only torch, torchvision, timm and numpy are there."""
    code = (
        "import sys\n"
        "absent = ['ffcv', 'mlflow', 'dvc', 'prefect', 'ruamel', 'pydantic', 'sklearn', 'pandas']\n"
        "sys.modules.update(dict.fromkeys(absent))\n"
        "import t2t.training.run, t2t.models.t2t_vit, t2t.models.vit\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment, cwd=Path("/"))
