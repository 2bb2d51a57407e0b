"""Speeds: measured, given, scaled."""

import pytest

from pipelines.planning import planner
from pipelines.planning.speed import Speed, measured_speeds, scaled
from tests.pipelines.planning.project import a_run


def recorded(root):
    return {cost.row.name: cost.row.recorded() for cost in planner.make_plan(root).costs}


def test_a_rows_own_journals_are_its_speed(root):
    checkpoints = root / "data" / "checkpoints"
    a_run(checkpoints, "t2t_vit_14", 0, [1, 90, 100, 110])  # the first epoch compiles
    a_run(checkpoints, "t2t_vit_14", 1, [1, 200])
    a_run(checkpoints, "t2t_vit_14", 2, [300])
    a_run(checkpoints, "t2t_vit_14", 2, [1, 7777], started=-5)  # an older run of the same seed
    a_run(checkpoints, "vit_small", 0, [1, 500], image_size=64)  # another network
    a_run(checkpoints, "vit_small", 1, [1, 500], variant="vit_base")
    a_run(checkpoints, "vit_small", 2, [])
    torn = a_run(checkpoints, "resnet_50", 0, [1, 40])
    (torn / "journal.jsonl").write_text("[]\n")
    assert measured_speeds(checkpoints, recorded(root)) == {"t2t_vit_14": 200}
    assert measured_speeds(root / "absent", recorded(root)) == {}

    by_row = {cost.row.name: cost for cost in planner.make_plan(root).costs}
    assert by_row["t2t_vit_14"].speed == Speed(200, "measured")
    macs = {name: cost.row.macs for name, cost in by_row.items()}
    for name in ("vit_small", "resnet_50"):
        assert by_row[name].speed.source == "t2t_vit_14"
        expected = 200 * macs["t2t_vit_14"] / macs[name]
        assert by_row[name].speed.images_per_s == pytest.approx(expected)


def test_a_changed_network_is_not_measured(root):
    checkpoints = root / "data" / "checkpoints"
    a_run(checkpoints, "t2t_vit_14", 0, [1, 100], overrides={"drop_path_rate": 0, "heads": 2})
    asked = recorded(root)
    assert measured_speeds(checkpoints, asked) == {"t2t_vit_14": 100}  # drop-path costs no time
    asked["t2t_vit_14"]["heads"] = 3
    assert measured_speeds(checkpoints, asked) == {}


def test_the_nearest_row_in_macs_is_scaled_from():
    speeds = {"small": Speed(900, "measured"), "large": Speed(100, "measured")}
    macs = {"small": 1_000, "middle": 2_000, "big": 6_000, "large": 10_000}
    assert scaled(speeds, macs) == {
        "small": Speed(900, "measured"),
        "middle": Speed(450, "small"),
        "big": Speed(100 * 10_000 / 6_000, "large"),
        "large": Speed(100, "measured"),
    }
    assert scaled({}, macs) == {}
