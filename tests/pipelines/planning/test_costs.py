"""Devices, hours, money, memory."""

import pytest
import torch

from pipelines.planning import planner
from pipelines.planning.fleet import Fleet
from pipelines.planning.report import as_values
from pipelines.planning.text import as_text
from t2t.training import parallel
from tests.pipelines.planning.project import a_run, states


@pytest.mark.parametrize("gpus", [1, 2, 3, 4, 8])
@pytest.mark.parametrize("runs", [1, 3, 5])
@pytest.mark.parametrize("most", [3, 256])
def test_runs_are_shared_out_as_training_does(gpus, runs, most, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.delenv("T2T_PROCESSES", raising=False)
    fleet = Fleet(gpus, is_gpu=True)
    each = parallel.processes_of_each(runs, gpus, most)
    assert fleet.devices_of_each(runs, most) == each
    free, ends = [0.0] * (gpus // each), []  # a queue, worked through by hand
    for _ in range(runs):
        start = min(free)
        free[free.index(start)] = start + 6 / each
        ends.append(start + 6 / each)
    assert fleet.elapsed_h(runs, 6, most) == pytest.approx(max(ends))
    assert fleet.device_h(runs, 6) == runs * 6


def test_a_computer_without_a_gpu_is_one_device(root, monkeypatch):
    monkeypatch.setenv("T2T_SLOTS", "2")  # then four runs share the cores
    fleet = planner.make_plan(root).fleet
    assert fleet == Fleet(1, is_gpu=False, runs_on_each=4)
    assert (fleet.elapsed_h(3, 6, 24), fleet.device_h(3, 6)) == (6, 6)
    assert (fleet.elapsed_h(5, 6, 24), fleet.device_h(4, 6)) == (12, 6)


def test_hours_and_price_by_hand(root, monkeypatch):
    changed = {"train__t2t_vit_14": ["code"], "shard": ["code"]}
    monkeypatch.setattr(planner, "stage_states", lambda folder: states(**changed))
    made = planner.make_plan(
        root, images_per_s=50, reference_row="t2t_vit_14", devices=2, price_per_h=3.0
    )
    t2t, vit, _ = made.costs
    epochs = t2t.row.recipe.total_epochs
    seconds = epochs * (1437 // 48 * 48 + 2 * 360 / 3) / 50
    assert t2t.run_h == pytest.approx(seconds / 3600)
    assert t2t.device_h == pytest.approx(3 * seconds / 3600)
    assert t2t.elapsed_h == pytest.approx(2 * seconds / 3600)
    assert vit.run_h == pytest.approx(
        epochs * (1437 // 64 * 64 + 240) / (50 * t2t.row.macs / vit.row.macs) / 3600
    )
    assert (made.certain.rows, made.possible.rows) == (1, 3)
    assert made.certain.device_h == pytest.approx(t2t.device_h)
    assert made.possible.elapsed_h == pytest.approx(sum(cost.elapsed_h for cost in made.costs))
    assert made.possible.images == sum(3 * cost.row.images for cost in made.costs)
    assert made.price(t2t.device_h) == pytest.approx(3 * t2t.device_h)
    values = as_values(made)
    assert values["certain"]["price"] == pytest.approx(3 * t2t.device_h)
    assert [row["speed_from"] for row in values["rows"]] == ["given", "t2t_vit_14", "t2t_vit_14"]


def test_several_gpus_measured_together_are_several_times_one(root, monkeypatch):
    a_run(root / "data" / "checkpoints", "t2t_vit_14", 0, [1, 1000])
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setenv("T2T_SLOTS", "6")  # two for each of three seeds
    monkeypatch.setattr("t2t.training.passes._LEAST_OF_A_RANK", 24)
    first = planner.make_plan(root).costs[0]
    assert first.speed.images_per_s == 500
    assert first.elapsed_h == pytest.approx(first.row.run_s(1000) / 3600)


def test_memory_is_that_of_the_images_a_device_takes(root, monkeypatch):
    monkeypatch.setenv("T2T_IMAGES_PER_PASS", "24")
    here = planner.make_plan(root, with_memory=True)
    assert [cost.images_at_once for cost in here.costs] == [24, 16, 24]
    monkeypatch.delenv("T2T_IMAGES_PER_PASS")
    whole = planner.make_plan(root, with_memory=True)
    assert [cost.images_at_once for cost in whole.costs] == [48, 64, 48]
    for part, all_ in zip(here.costs, whole.costs, strict=True):
        assert part.memory.peak < all_.memory.peak
        assert part.memory.parameters == all_.memory.parameters
    assert "in float32" in as_text(whole) and "GiB" in as_text(whole)
