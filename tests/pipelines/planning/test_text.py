"""What a plan looks like."""

import dataclasses
import json

import pytest

from pipelines.planning import planner
from pipelines.planning.report import as_values
from pipelines.planning.text import CAUSES_SHOWN, as_text
from t2t.errors import ConfigError
from tests.pipelines.planning.project import GRAPH, NAMES, TEXT, states, with_block


def test_text_has_a_line_for_each_row_and_its_causes(root, monkeypatch):
    changed = {"train__vit_small": ["code", "data/runs/vit_small"], "train__resnet_50": ["code"]}
    monkeypatch.setattr(planner, "stage_states", lambda folder: states(**changed))
    made = planner.make_plan(root, images_per_s=50, devices=2, price_per_h=3.0)
    text = as_text(made)
    lines = text.splitlines()
    table = [line for line in lines if line.split(" ")[0] in ("row", *NAMES)]
    assert [line.split()[0] for line in table] == ["row", *NAMES]
    assert "up to date" in table[1] and "to run" in table[2] and len({*map(len, table[2:])}) == 1
    assert len(table[1]) < len(table[2])  # no hours for what is up to date
    assert "     2 code changed" in lines and "     1 data/runs/<row> changed" in lines
    assert any(line.startswith("May run: ") for line in lines)
    assert "Stages: 2 to run, 3 may run, 4 up to date (prepare: up to date" in text
    assert "To train: 2 rows, 6 runs" in text and "At most" not in text
    assert "If no device ever waits" in text and "at 3 each" in text
    assert "MobileNets" in text


def test_text_without_a_speed_says_how_to_get_hours(root, monkeypatch):
    text = as_text(planner.make_plan(root))
    assert "To train: nothing\n" in text and "device-h" not in text
    monkeypatch.setattr(planner, "stage_states", lambda folder: states(shard=["code"]))
    text = as_text(planner.make_plan(root))
    assert "--images-per-s N" in text and "device-h" not in text
    assert "To train: nothing for certain\nAt most:  3 rows, 9 runs, " in text


def test_many_causes_are_counted(root, monkeypatch):
    files = [f"t2t/file_{number}.py" for number in range(CAUSES_SHOWN + 3)]
    monkeypatch.setattr(planner, "stage_states", lambda folder: states(shard=files))
    text = as_text(planner.make_plan(root))
    shown = text.partition("for how many stages:\n")[2].partition("\n\n")[0].splitlines()
    assert len(shown) == CAUSES_SHOWN + 1 and shown[0] == "     1 t2t/file_0.py changed"
    assert shown[-1].split()[:3] == ["and", "3", "causes"]


def test_another_scale_is_taken_to_run_as_a_whole(root, monkeypatch):
    block = TEXT[TEXT.index("  digits:") : TEXT.index("  imagenette:")]
    with_block(root, block, block + block.replace("digits:", "other:", 1))
    monkeypatch.setattr(planner, "stage_states", lambda folder: 1 / 0)
    made = planner.make_plan(root, scale="other", images_per_s=10)
    assert made.stages == {} and made.certain.rows == 3
    assert "all are taken to run" in as_text(made)
    with pytest.raises(ConfigError, match="--scale 'others' is no scale; did you mean other?"):
        planner.make_plan(root, scale="others")


def test_values_are_json_and_whole(root, monkeypatch):
    monkeypatch.setattr(planner, "stage_states", lambda folder: states(shard=["code"]))
    made = planner.make_plan(root, images_per_s=10)
    values = json.loads(json.dumps(as_values(made)))
    assert [stage["name"] for stage in values["stages"]] == list(GRAPH)
    assert values["stages"][1]["causes"] == ["code changed"]
    assert values["stages"][2]["from_above"] == ["shard is to run"]
    assert [row["train"] for row in values["rows"]] == ["may run"] * 3
    assert values["data"]["train_images"] == 1437 and values["certain"]["rows"] == 0
    assert values["fleet"] == dataclasses.asdict(made.fleet)
