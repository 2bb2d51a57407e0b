"""`python -m pipelines.plan`: its arguments, its errors, and the project's own plan."""

import json
import subprocess
import sys

import pytest

from pipelines import plan
from pipelines.environment import ROOT
from pipelines.params.reader import Params
from pipelines.planning import planner
from t2t.errors import EnvironmentProblem


@pytest.mark.parametrize(
    "arguments, said",
    [
        (["--images-per-s", "0"], "--images-per-s must be a number above 0, not 0.0"),
        (["--images-per-s", "nan"], "--images-per-s must be a number above 0, not nan"),
        (["--devices", "-1"], "--devices must be a number above 0, not -1"),
        (["--price-per-hour", "inf"], "--price-per-hour must be a number above 0, not inf"),
        (["--reference-row", "vit_small"], "give that too"),
        (["--images-per-s", "5", "--reference-row", "x"], "--reference-row 'x' is no row"),
    ],
)
def test_a_wrong_argument_ends_in_one_line(arguments, said, capsys):
    assert plan.main(arguments) == 2
    printed = capsys.readouterr()
    assert said in printed.err and len(printed.err.splitlines()) == 1 and not printed.out


def test_dvc_at_work_is_the_machines_problem(monkeypatch, capsys):
    def busy(folder):
        raise EnvironmentProblem("DVC is at work")

    monkeypatch.setattr(planner, "stage_states", busy)
    assert plan.main([]) == 4
    assert capsys.readouterr().err == "plan: DVC is at work\n"


def test_the_project_itself_is_planned():
    """The real graph, in a process of its own and from another folder."""
    answer = subprocess.run(
        [sys.executable, "-m", "pipelines.plan", "--json", "--images-per-s", "1000"],
        cwd="/", env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert answer.returncode == 0, answer.stderr
    values = json.loads(answer.stdout)
    tree = Params(ROOT / "params.yaml").tree
    assert [row["row"] for row in values["rows"]] == [*tree["rows"], *tree["derived"]]
    names = [stage["name"] for stage in values["stages"]]
    for verb in ("train", "evaluate"):
        assert {f"{verb}@{row}" for row in tree["rows"]} <= set(names)
        assert {f"{verb}_derived@{row}" for row in tree["derived"]} <= set(names)
    positions = {name: number for number, name in enumerate(names)}
    for stage in values["stages"]:
        assert all(positions[above] < positions[stage["name"]] for above in stage["upstream"])
    assert all(row["train"] and row["device_h"] > 0 for row in values["rows"])
