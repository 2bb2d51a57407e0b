"""What the planner says of each stage, beside what `dvc repro` then does."""

import contextlib
import json
import os
import shutil
import time
from pathlib import Path

import pytest
from dvc.repo import Repo

from pipelines.graph import stage_states
from pipelines.planning.staleness import Verdict, plan_stages
from t2t.errors import ConfigError, EnvironmentProblem

# Of a library below DVC, about DVC's own use of it.
pytestmark = pytest.mark.filterwarnings("ignore:_NoneStep.value:DeprecationWarning")

RUNS, MAY_RUN = Verdict.RUNS, Verdict.MAY_RUN
RESTORED, UP_TO_DATE = Verdict.RESTORED, Verdict.UP_TO_DATE
# The project's graph in small. Each command notes its stage in `log`, which DVC does not know.
DVC_YAML = """stages:
  prepare:
    cmd: echo prepare >> log; cp source raw
    deps: [source]
    outs: [raw]
  shard:
    cmd: echo shard >> log; sed s/^/shard/ raw > shards
    deps: [raw, shard.py]
    outs: [shards]
  train:
    foreach: ${rows}
    do:
      cmd: echo train@${key} >> log; sed -n '/^  ${key}:/p' params.yaml | cat - shards > run_${key}
      deps: [shards]
      params: ['rows.${key}.lr']
      outs: ['run_${key}']
  evaluate:
    foreach: ${rows}
    do:
      cmd: echo evaluate@${key} >> log; wc -c run_${key} > metric_${key}
      deps: ['run_${key}', shards]
      outs: ['metric_${key}']
  report:
    cmd: echo report >> log; cat metric_* > table
    deps: [metric_a, metric_b]
    outs:
      - table:
          cache: false
"""
PARAMS = "rows:\n  a: {lr: 1}\n  b: {lr: 1}\n"
ROW_A = {"train@a": RUNS, "evaluate@a": MAY_RUN, "report": MAY_RUN}
TRAININGS = {"train@a": MAY_RUN, "train@b": MAY_RUN}
BELOW_TRAINING = {"evaluate@a": MAY_RUN, "evaluate@b": MAY_RUN, "report": MAY_RUN}
ALL = ["prepare", "shard", "train@a", "train@b", "evaluate@a", "evaluate@b", "report"]
CACHED = ["raw", "shards", "run_a", "run_b", "metric_a", "metric_b"]


def repro(folder):
    """The stages whose command ran, and those whose outputs came from the cache."""
    (folder / "log").unlink(missing_ok=True)
    with contextlib.chdir(folder), Repo() as repo:
        touched = [stage.addressing for stage in repo.reproduce()]
    ran = (folder / "log").read_text().split() if (folder / "log").exists() else []
    return ran, [name for name in touched if name not in ran]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    os.environ["DVC_SITE_CACHE_DIR"] = str(folder.parent / "site")
    Repo.init(str(folder), no_scm=True).close()
    for name, text in {
        "dvc.yaml": DVC_YAML, "params.yaml": PARAMS, "source": "1 2 3\n", "shard.py": "\n"
    }.items():  # fmt: skip
        (folder / name).write_text(text)
    assert sorted(repro(folder)[0]) == sorted(ALL)
    yield folder
    del os.environ["DVC_SITE_CACHE_DIR"]


@pytest.fixture
def project(made, tmp_path):
    folder = tmp_path / "project"
    shutil.copytree(made, folder, ignore=shutil.ignore_patterns("tmp"))
    return folder


def edit(name, old, new):
    def change(folder):
        text = (folder / name).read_text()
        assert old in text
        (folder / name).unlink()
        (folder / name).write_text(text.replace(old, new))

    return change


def remove(*names):
    def change(folder):
        for name in names:
            path = folder / name
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    return change


def there_and_back(folder):
    edit("params.yaml", "a: {lr: 1}", "a: {lr: 2}")(folder)
    repro(folder)
    edit("params.yaml", "a: {lr: 2}", "a: {lr: 1}")(folder)


def add_row(folder):
    edit("params.yaml", "  b:", "  c: {lr: 3}\n  b:")(folder)


CASES = {
    "nothing": (lambda folder: None, {}),
    "a row's parameter": (edit("params.yaml", "a: {lr: 1}", "a: {lr: 2}"), ROW_A),
    "a row's parameter, with another result": (
        edit("params.yaml", "a: {lr: 1}", "a: {lr: 0.125}"),
        ROW_A,
    ),
    "a parameter that was had before": (there_and_back, ROW_A | {"train@a": RESTORED}),
    "a command": (
        edit("dvc.yaml", "wc -c", "wc  -c"),
        {"evaluate@a": RUNS, "evaluate@b": RUNS, "report": MAY_RUN},
    ),
    "code that gives the same": (
        edit("shard.py", "\n", "# A comment.\n"),
        {"shard": RUNS, **TRAININGS, **BELOW_TRAINING},
    ),
    "the source": (
        edit("source", "1", "one"),
        {"prepare": RUNS, "shard": MAY_RUN, **TRAININGS, **BELOW_TRAINING},
    ),
    "a new row": (add_row, {"train@c": RUNS, "evaluate@c": RUNS}),
    "an output gone": (remove("run_a"), {"train@a": RESTORED}),
    "an output changed by hand": (edit("shards", "1", "8"), {"shard": RESTORED}),
    "all cached outputs gone": (
        remove(*CACHED),
        {name: RESTORED for name in ALL if name != "report"},
    ),
    "an output gone that is not cached": (remove("table"), {"report": RUNS}),
    "the cache gone": (
        remove(".dvc/cache"),
        {name: RUNS for name in ALL} | {"report": MAY_RUN},
    ),
    "a clone without data": (
        remove(".dvc/cache", *CACHED),
        {name: RUNS for name in ALL} | {"report": MAY_RUN},
    ),
    "the lock file gone": (
        remove("dvc.lock"),
        {"prepare": RESTORED, "shard": MAY_RUN, **TRAININGS, **BELOW_TRAINING, "report": RUNS},
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_verdicts_are_what_repro_then_does(case, project):
    change, expected = CASES[case]
    change(project)
    planned = {stage.name: stage for stage in plan_stages(stage_states(project))}
    verdicts = {name: stage.verdict for name, stage in planned.items()}
    assert verdicts == dict.fromkeys(verdicts, UP_TO_DATE) | expected
    for stage in planned.values():
        assert bool(stage.causes or stage.from_above) == (stage.verdict is not UP_TO_DATE)

    ran, restored = repro(project)
    assert {name for name in verdicts if verdicts[name] is RUNS} <= set(ran)
    assert set(ran) <= {name for name in verdicts if verdicts[name] in (RUNS, MAY_RUN)}
    assert {name for name in verdicts if verdicts[name] is RESTORED} <= set(restored)
    assert not {name for name in verdicts if verdicts[name] is UP_TO_DATE} & {*ran, *restored}


def test_causes_name_what_changed(project):
    edit("params.yaml", "a: {lr: 1}", "a: {lr: 2}")(project)
    remove("run_b", ".dvc/cache")(project)
    planned = {stage.name: stage for stage in plan_stages(stage_states(project))}
    assert planned["train@a"].causes == (
        "rows.a.lr changed in params.yaml",
        "run_a is not in the cache",
    )
    assert "run_b is not there" in planned["train@b"].causes
    assert planned["evaluate@a"].from_above == ("train@a is to run", "shard is to run")
    assert planned["evaluate@a"].row == "a" and planned["shard"].row == ""


def tree(folder):
    """Every file but DVC's scratch, with its content."""
    return {
        path.relative_to(folder): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in folder.rglob("*")
        if path.is_file() and not path.is_relative_to(folder / ".dvc" / "tmp")
    }


@pytest.mark.parametrize("case", ["a parameter that was had before", "a clone without data"])
def test_nothing_is_written(case, project):
    CASES[case][0](project)
    before = tree(project)
    stage_states(project)
    assert tree(project) == before


def test_a_running_stage_is_named_and_waited_for_by_the_user(project):
    """The state in which a `dvc repro` leaves the folder while its command runs."""
    owner = {"pid": os.getppid(), "cmd": "dvc repro"}
    (project / ".dvc" / "tmp").mkdir(exist_ok=True)
    lock = {"write": {str(project / "run_a"): owner}, "read": {}}
    (project / ".dvc" / "tmp" / "rwlock").write_text(json.dumps(lock))
    with pytest.raises(EnvironmentProblem, match="run_a.* dvc repro") as caught:
        stage_states(project)
    assert "\n" not in str(caught.value) and str(os.getppid()) in str(caught.value)


def test_a_locked_repository_is_not_waited_for(project):
    with Repo(str(project)) as repo, repo.lock:
        began = time.monotonic()
        with pytest.raises(EnvironmentProblem, match="DVC is at work in .*ask again"):
            stage_states(project)
        assert time.monotonic() - began < 10


@pytest.mark.parametrize("old, new", [("foreach: ${rows}", "foreach: ${lines}"), ("outs:", "out:")])
def test_a_graph_that_cannot_be_read_ends_in_one_line(project, old, new):
    edit("dvc.yaml", old, new)(project)
    with pytest.raises(ConfigError, match="^dvc.yaml: ") as caught:
        stage_states(project)
    assert "\n" not in str(caught.value)


def test_a_folder_without_dvc_is_told(tmp_path: Path):
    with pytest.raises(ConfigError, match="dvc"):
        stage_states(tmp_path)
