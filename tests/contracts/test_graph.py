"""The graph keeps its word: what a stage imports and reads is what it declares."""

import contextlib
import importlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from pipelines.graph import StageInputs, stage_inputs
from pipelines.params.reader import Params
from pipelines.run import VERBS
from tests.contracts.imports import ROOT, import_closure
from tests.released import with_released_rows

PARAMS = Params(ROOT / "params.yaml")
FINE, DISTILLED = "t2t_vit_14_384", "t2t_vit_7_distilled"
# Stages of dvc.yaml by the verb that they run; a family has one stage for each of its rows.
VERB_OF = {verb: verb for verb in VERBS if verb != "fetch"} | {
    "train_derived": "train",
    "evaluate_derived": "evaluate",
    "prepare_downstream": "prepare",
    "shard_downstream": "shard",
    "fetch_released": "fetch",
    "evaluate_released": "evaluate",
}
ONE_OF = {"train": "t2t_vit_14", "evaluate": "t2t_vit_14"}
ONE_OF |= {"train_derived": FINE, "evaluate_derived": FINE}
# Stages that know a network by the runs alone, whose digest covers its code.
OF_RUNS = {"analyse": "t2t_vit_14"}
ONE_OF |= {"transfer": "cifar10_t2t_vit_14"}
ONE_OF |= {"prepare_downstream": "cifar10", "shard_downstream": "cifar10"}
# Of each family with networks a stage of another backbone than the above, and that backbone.
OTHER = {"train": ("vit_small", "vit"), "evaluate": ("vit_small", "vit")}
OTHER |= {f"{verb}_derived": ("deit_small_distilled", "deit") for verb in ("train", "evaluate")}
OTHER |= {"transfer": ("cifar10_vit_small", "vit")}
# Of rows that stand in params.yaml as comments, since the authors' weights are for ImageNet.
RELEASED = dict.fromkeys(("fetch_released", "evaluate_released"), "t2t_vit_14_released")


def inputs_of(stage: str, row: str | None = None) -> StageInputs:
    row = row or (ONE_OF | OF_RUNS).get(stage)
    return stage_inputs(ROOT, f"{stage}@{row}" if row else stage)


@pytest.fixture(scope="module")
def released(tmp_path_factory):
    """The project's graph and parameters with the rows of published weights."""
    folder = tmp_path_factory.mktemp("released")
    (folder / ".dvc").mkdir()
    for name in (".dvc/config", "dvc.yaml"):
        (folder / name).write_text((ROOT / name).read_text())
    (folder / "params.yaml").write_text(with_released_rows((ROOT / "params.yaml").read_text()))
    subprocess.run(["git", "init", "-q"], cwd=folder, check=True)
    return folder


@pytest.fixture(scope="module")
def inputs(released):
    found = {stage: inputs_of(stage) for stage in VERB_OF if stage not in RELEASED}
    for stage, row in RELEASED.items():
        with contextlib.chdir(released):
            there = stage_inputs(released, f"{stage}@{row}")
        paths = tuple(ROOT / path.relative_to(released) for path in there.paths)
        found[stage] = StageInputs(paths, there.param_keys)
    return found


@pytest.mark.parametrize("stage", VERB_OF)
def test_deps_cover_imports(stage, inputs):
    verb = VERB_OF[stage]
    entry = ROOT / "pipelines" / "stages" / f"{verb}.py"
    declared = inputs[stage].paths
    backbone = ROOT / "t2t" / "models" / "t2t_vit.py"
    needed = import_closure(entry) | (
        import_closure(backbone)
        if verb in ("train", "evaluate", "transfer", "fetch", "measure")
        else set()
    )
    uncovered = [
        str(path.relative_to(ROOT))
        for path in needed
        if path.stat().st_size and not any(path.is_relative_to(root) for root in declared)
    ]
    assert not uncovered, f"dvc.yaml: {stage} imports but does not declare {sorted(uncovered)}"


@pytest.mark.parametrize("stage", VERB_OF)
def test_no_dep_is_superfluous(stage, inputs):
    """A code file that a stage declares without importing it would re-run the stage for nothing."""
    entry = ROOT / "pipelines" / "stages" / f"{VERB_OF[stage]}.py"
    imported = import_closure(entry) | import_closure(ROOT / "t2t" / "models" / "t2t_vit.py")
    for path in inputs[stage].paths:
        if path.suffix == ".py":
            assert path in imported, (
                f"{stage} declares {path.relative_to(ROOT)}, which it never imports"
            )


def test_the_import_check_sees_through_functions(tmp_path):
    module = tmp_path / "lazy.py"
    module.write_text("def f():\n    from t2t.training import recipe\n    return recipe\n")
    assert ROOT / "t2t" / "training" / "recipe.py" in import_closure(module)


def test_a_backbone_is_a_dependency_of_its_own_rows_alone(inputs):
    for stage, (row, name) in OTHER.items():
        backbone = ROOT / "t2t" / "models" / f"{name}.py"
        assert not any(backbone.is_relative_to(path) for path in inputs[stage].paths)
        assert backbone in inputs_of(stage, row).paths


def test_a_derived_row_depends_on_the_runs_that_it_needs():
    for name, row in PARAMS.tree["derived"].items():
        assert ROOT / "data/runs/digits" / row["needs"] in inputs_of("train_derived", name).paths


def test_a_transfer_depends_on_what_it_needs_and_on_its_own_set_and_recipe():
    for name, transfer in PARAMS.tree["transfers"].items():
        inputs = inputs_of("transfer", name)
        shards = {path.parent for path in inputs.paths if path.suffix == ".beton"}
        assert shards == {ROOT / f"data/shards/digits.{transfer['set']}"}
        assert ROOT / "data/runs/digits" / transfer["needs"] in inputs.paths
        recipes = {key for key in inputs.param_keys if key.startswith("transfer_recipes")}
        assert recipes == {f"transfer_recipes.{transfer['recipe']}"}


def test_what_the_report_alone_reads_of_a_transfer_is_no_input(inputs):
    keys = inputs["transfer"].param_keys
    own = {
        key.rpartition(".")[2] for key in keys if key.startswith("transfers.cifar10_t2t_vit_14.")
    }
    assert own == {"needs", "set", "recipe", "start", "model", "train"}
    sections = "transfers", "downstream", "downstream.cifar10", "transfer_recipes"
    assert not set(sections) & set(keys)


def test_larger_images_concern_those_rows_alone_that_have_them(inputs):
    fine = "scales.digits.fine"
    assert fine in inputs["train_derived"].param_keys
    assert fine not in inputs_of("train_derived", DISTILLED).param_keys
    assert fine not in inputs["train"].param_keys
    assert not any("val_fine" in path.name for path in inputs["train"].paths)


def test_every_verb_has_a_stage_file_and_nothing_else_is_there():
    files = {path.stem for path in (ROOT / "pipelines" / "stages").glob("*.py")} - {"__init__"}
    assert files == set(VERBS)
    for verb in VERBS:
        assert callable(importlib.import_module(f"pipelines.stages.{verb}").main)


def test_git_ignores_what_dvc_writes_beside_its_cached_outputs(tmp_path):
    """A flow refuses a tree with files that no commit holds."""
    stages = YAML(typ="safe").load((ROOT / "dvc.yaml").read_text())["stages"]
    outs = [out for stage in stages.values() for out in stage.get("do", stage).get("outs", ())]
    cached = [re.sub(r"\$\{.*?\}", "x", out) for out in outs if isinstance(out, str)]
    written = {f"{Path(out).parent}/.gitignore" for out in cached}
    (tmp_path / ".gitignore").write_text((ROOT / ".gitignore").read_text())
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    command = ["git", "check-ignore", *written]
    ignored = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert len(written) > 3 and written == set(ignored.stdout.splitlines())


def test_commands_pass_through_the_runner():
    stages = YAML(typ="safe").load((ROOT / "dvc.yaml").read_text())["stages"]
    assert set(stages) == set(VERB_OF)
    for name, stage in stages.items():
        command = stage.get("do", stage)["cmd"]
        assert command.startswith(f"python -m pipelines.run {VERB_OF[name]} ")


class Asked(Params):
    """Params that sees nothing but the keys a stage has declared."""

    declared: tuple[str, ...] = ()

    def value(self, key: str):
        inside = any(f"{key}.".startswith(f"{known}.") for known in self.declared)
        assert inside, f"reads {key}, which dvc.yaml does not declare: {self.declared}"
        return super().value(key)


@pytest.mark.parametrize(
    "name, row",
    [
        ("prepare", None),
        ("shard", None),
        ("train", "t2t_vit_14"),
        ("train_derived", FINE),
        ("train_derived", DISTILLED),
        ("analyse", "t2t_vit_14"),
        ("prepare_downstream", "cifar10"),
        ("shard_downstream", "cifar10"),
        ("transfer", "cifar10_t2t_vit_14"),
        ("transfer", "flowers102_t2t_vit_14_scratch"),
        ("report", None),
        ("extra", None),
        ("fetch_released", RELEASED["fetch_released"]),
        ("catalogue", None),
        ("measure", None),
    ],
)
def test_params_cover_reads(name, row, inputs, released, monkeypatch, tmp_path):
    """Runs the stage's own reading of params.yaml; the work behind it is cut off."""
    verb = VERB_OF[name]
    stage = importlib.import_module(f"pipelines.stages.{verb}")
    its_inputs = inputs[name] if name in RELEASED else inputs_of(name, row)
    monkeypatch.setattr(Asked, "declared", its_inputs.param_keys)
    monkeypatch.setattr(stage, "Params", Asked)
    monkeypatch.chdir(released if name in RELEASED else ROOT)
    work = {
        "prepare": ["prepare"],
        "shard": ["open_prepared", "write_shard"],
        "analyse": ["analyse_row"],
        "train": ["train_row"],
        "transfer": ["train_row", "evaluate_row", "write_evaluation", "record_evaluation"],
        "report": ["write_report"],
        "extra": ["load_manifest", "write_json"],
        "fetch": ["obtain_weights", "released_run"],
        "catalogue": ["write_json"],
        "measure": ["load_manifest", "measure_costs", "write_json"],
    }[verb]
    calls = []
    for function in work:
        monkeypatch.setattr(stage, function, lambda *args, **kwargs: calls.append(args) or Stub())
    folder, networks = str(tmp_path), str(tmp_path / "networks.json")
    Path(networks).write_text("{}")
    arguments = {
        "prepare": ["--out", folder],
        "shard": ["--raw", folder, "--out", folder],
        "train": ["--row", str(row), "--shards", folder, "--checkpoints", folder]
        + ["--out", folder, "--curves", folder]
        + ["--needed", folder] * (name == "train_derived"),
        "analyse": ["--row", str(row), "--runs", folder, "--shards", folder, "--out", folder],
        "transfer": ["--transfer", str(row), "--needed", folder, "--shards", folder]
        + ["--checkpoints", folder, "--out", folder, "--metrics", folder, "--seeds", folder]
        + ["--curves", f"{folder}/curves.csv"],
        "report": ["--results", folder],
        "extra": ["--shards", folder, "--out", folder],
        "fetch": ["--row", str(row), "--shards", folder, "--checkpoints", folder, "--out", folder],
        "catalogue": ["--networks", folder, "--baselines", folder]
        + ["--transfers", folder, "--analyses", folder],
        "measure": ["--networks", networks, "--shards", folder, "--out", f"{folder}/out"],
    }[verb]
    downstream = ["--downstream", str(row)] * name.endswith("_downstream")
    scale = ["--scale", "digits"] * (verb != "analyse")
    stage.main([*scale, *downstream, *arguments])
    assert calls


class Stub(str):
    """Stands for what the work gives back, an empty text among it."""

    classes = ()
    fingerprint = ""
    configs = ({"train_images": 0},)

    def __getitem__(self, name):
        return {}

    def split(self, name):
        return []

    def warnings(self):
        return []

    def metrics_per_seed(self):
        return [{}]

    def summary(self):
        return {}

    def __len__(self):
        return 0

    def items(self):
        return []


@pytest.mark.parametrize("verb", ["evaluate", "compare"])
def test_a_stage_reads_no_params(verb):
    assert "params" not in (ROOT / "pipelines" / "stages" / f"{verb}.py").read_text()


def test_every_row_builds():
    """At the digits scale, by the arguments that a run's config.json holds."""
    from t2t.models import create

    tree = PARAMS.tree
    scale = tree["scales"]["digits"]
    for row in (*tree["rows"].values(), *tree["derived"].values()):
        fine = row.get("phase") == "fine"
        create(
            row["model"]["variant"],
            backbone=row["model"]["backbone"],
            image_size=scale["fine" if fine else "shards"]["image_size"],
            num_classes=10,
            **scale["model"],
        )


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
