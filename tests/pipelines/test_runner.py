"""The runner: one line per mistake, an exit code by class, and a guard over the inputs."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipelines.environment import SETTINGS, project_environment
from pipelines.graph import StageInputs
from pipelines.guard import InputGuard
from t2t.errors import EnvironmentProblem

ROOT = Path(__file__).resolve().parents[2]


def run(*arguments, **environment):
    return subprocess.run(
        [sys.executable, "-m", "pipelines.run", *arguments],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, **environment},
        check=False,
    )


@pytest.mark.parametrize(
    "arguments, code, said",
    [
        (
            ["trian"],
            2,
            "no stage 'trian'; the stages are prepare, shard, train, evaluate, analyse,",
        ),
        ([], 2, "no stage ''"),
        (["prepare", "--scale", "huge", "--out", "x"], 2, "scales.huge: missing"),
        (
            ["shard", "--scale", "digits", "--raw", "nowhere", "--out", "{tmp}/x"],
            3,
            "nowhere",
        ),
        (
            ["evaluate", "--runs", "{tmp}", "--shards", "x", "--checkpoints", "x"]
            + ["--extra-sets", "x", "--metrics", "{tmp}/m.json", "--seeds", "{tmp}/s.csv"]
            + ["--classes", "{tmp}/c.json", "--predictions", "{tmp}/p"],
            3,
            "holds no trained run; train the row first",
        ),
        (
            ["analyse", "--row", "vit_small", "--runs", "{tmp}", "--shards", "x", "--out", "x"],
            3,
            "holds no trained run; train the row first",
        ),
        (
            ["analyse", "--row", "vit_base", "--runs", "{tmp}", "--shards", "x", "--out", "x"],
            2,
            "analyses.vit_base: missing",
        ),
        (
            ["train", "--scale", "digits", "--row", "t2t_vit_14", "--shards", "{tmp}/none"]
            + ["--checkpoints", "{tmp}/c", "--out", "{tmp}/o", "--curves", "{tmp}/c.csv"],
            3,
            "train.beton",
        ),
        (
            ["train", "--scale", "digits", "--row", "no_such", "--shards", "x"]
            + ["--checkpoints", "x", "--out", "x", "--curves", "x"],
            2,
            "rows.no_such: missing",
        ),
    ],
)
def test_mistakes_end_in_one_line(arguments, code, said, tmp_path):
    result = run(*[word.format(tmp=tmp_path) for word in arguments], T2T_SLOTS="1")
    assert result.returncode == code, result.stderr
    assert said in result.stderr
    assert "Traceback" not in result.stderr and len(result.stderr.splitlines()) == 1
    made = {path.name for path in tmp_path.iterdir()} - {"c"}
    assert not made, "nothing half-written"


def test_environment_switches_telemetry_off_and_keeps_the_users_server():
    environment = project_environment({"MLFLOW_TRACKING_URI": "http://host", "DO_NOT_TRACK": "0"})
    assert environment["MLFLOW_TRACKING_URI"] == "http://host"
    assert environment["DO_NOT_TRACK"] == "true" and environment["DVC_NO_ANALYTICS"] == "1"
    default = project_environment({}, Path("/project"))["MLFLOW_TRACKING_URI"]
    assert default == "sqlite:////project/data/mlflow/mlflow.db"


def test_tools_agree_that_telemetry_is_off():
    code = (
        "from dvc.analytics import is_enabled; assert not is_enabled()\n"
        "from mlflow.telemetry.utils import is_telemetry_disabled; assert is_telemetry_disabled()\n"
        "from prefect.settings import get_current_settings as s\n"
        "assert not s().server.analytics_enabled\n"
    )
    subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        check=True,
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "HOME": os.environ["HOME"], **SETTINGS},
    )


@pytest.fixture
def guarded(tmp_path):
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "a.py").write_text("a = 1\n")
    (tmp_path / "b.py").write_text("b = 1\n")
    (tmp_path / "params.yaml").write_text("recipe: {lr: 1.0}\nother: 1\n")
    paths = (tmp_path / "code", tmp_path / "b.py")
    return tmp_path, InputGuard(tmp_path, StageInputs(paths, ("recipe",)))


@pytest.mark.parametrize(
    "change, named",
    [
        (lambda root: (root / "b.py").write_text("b = 2\n"), "b.py"),
        (lambda root: (root / "b.py").unlink(), "b.py"),
        (lambda root: (root / "code" / "new.py").write_text(""), "code/new.py"),
        (lambda root: (root / "params.yaml").write_text("recipe: {lr: 2.0}\n"), "recipe"),
    ],
)
def test_guard_names_what_changed(guarded, change, named):
    root, guard = guarded
    guard.verify()
    change(root)
    with pytest.raises(EnvironmentProblem, match=f"{named} changed while this stage ran"):
        guard.verify()


def test_guard_lets_other_changes_pass(guarded):
    root, guard = guarded
    (root / "code" / "__pycache__").mkdir()
    (root / "code" / "__pycache__" / "a.pyc").write_text("x")
    (root / "params.yaml").write_text("recipe: {lr: 1.0}\nother: 2\n")
    (root / "b.py").touch()
    guard.verify()


@pytest.mark.parametrize("stage", [{}, {"DVC_STAGE": "train@x"}])
def test_an_orphan_leaves_before_it_begins(stage, tmp_path):
    """`dvc` may be killed while its stage still imports; by hand nobody needs a parent."""
    begun = tmp_path / "begun"
    child = "from pipelines.parent import leave_with_parent; leave_with_parent(); "
    child += f"import pathlib; pathlib.Path({str(begun)!r}).touch()"
    command = "while [ $(cut -d' ' -f4 /proc/$$/stat) = PARENT ]; do sleep 0.1; done; "
    command += f'{sys.executable} -c "{child}"; touch {tmp_path}/ended'
    above = "import os, subprocess, sys; "
    above += "subprocess.Popen(['sh', '-c', sys.argv[1].replace('PARENT', str(os.getpid()))])"
    subprocess.run(
        [sys.executable, "-c", above, command], check=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), **stage},
    )  # fmt: skip
    deadline = time.monotonic() + 60
    while not (tmp_path / "ended").exists():
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert begun.exists() == (not stage)


def test_leaves_when_the_process_above_its_shell_dies(tmp_path):
    """A shell between them outlives its own parent, as under a killed `dvc` or flow."""
    child = tmp_path / "child.py"
    child.write_text(
        "import pathlib, time\n"
        "from pipelines.parent import leave_with_parent\n"
        "leave_with_parent()\n"
        f"pathlib.Path({str(tmp_path / 'pid')!r}).write_text(str(__import__('os').getpid()))\n"
        "time.sleep(60)\n"
    )
    above = tmp_path / "above.py"
    above.write_text(
        f"import subprocess, sys\nsubprocess.run('{sys.executable} {child}; true', shell=True)\n"
    )
    process = subprocess.Popen(
        [sys.executable, str(above)], env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    deadline = time.monotonic() + 30
    while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
        assert time.monotonic() < deadline
        time.sleep(0.1)
    pid = int((tmp_path / "pid").read_text())
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    while Path(f"/proc/{pid}/cmdline").exists() and Path(f"/proc/{pid}/cmdline").read_bytes():
        assert time.monotonic() < deadline, "the child outlived it"
        time.sleep(0.1)
