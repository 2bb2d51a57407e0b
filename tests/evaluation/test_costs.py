"""What is measured of a network: memory against other ways to count it, and the order of turns."""

import json

import pytest
import torch
from torch.profiler import ProfilerActivity, profile

from t2t.evaluation import costs
from t2t.evaluation.complexity import complexity
from t2t.evaluation.costs import MIB, measure_costs
from t2t.evaluation.memory import training_memory
from t2t.training.config import network_of

BATCH, CPU = 8, torch.device("cpu")
SIZES = {"image_size": 32, "num_classes": 10, "width_factor": 0.25, "depth_factor": 0.3}


def arguments(variant, backbone):
    return {"variant": variant, "backbone": backbone, "overrides": {"drop_path_rate": 0.1}, **SIZES}


NETWORKS = {
    "performer": arguments("t2t_vit_7", "t2t_vit"),
    "vit": arguments("vit_small", "vit"),
    "distilled": arguments("deit_small_distilled", "deit"),
    "convolutional": arguments("mobilenet_v2", "cnn"),
}


@pytest.fixture(scope="module")
def measured():
    torch.set_num_threads(1)
    return measure_costs(NETWORKS | {"vit again": dict(NETWORKS["vit"])}, BATCH, CPU, rounds=2)


@pytest.mark.parametrize("name", NETWORKS)
def test_training_is_measured_at_what_is_counted_without_running_it(measured, name):
    """But for what a real step holds for a moment besides."""
    counted = training_memory(network_of(NETWORKS[name]), BATCH, 32, 10, bfloat16=False).peak
    assert counted <= measured[name].train_peak < 1.05 * counted


@pytest.mark.parametrize("name", ["performer", "convolutional"])
def test_inference_is_measured_at_what_the_allocator_had(measured, name, tmp_path):
    """Workspaces that no tensor owns are the allocator's alone."""
    model = network_of(NETWORKS[name]).eval()
    with torch.inference_mode():
        model(torch.randn(BATCH, 3, 32, 32))  # what libraries set up once
        with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
            images = torch.randn(BATCH, 3, 32, 32)
            model(images)
    profiler.export_chrome_trace(str(tmp_path / "trace.json"))
    events = json.loads((tmp_path / "trace.json").read_text())["traceEvents"]
    totals = [event["args"] for event in events if event["name"] == "[memory]"]
    before = totals[0]["Total Allocated"] - totals[0]["Bytes"]
    peak = max(each["Total Allocated"] for each in totals) - before
    own = sum(t.nbytes for t in [*model.parameters(), *model.buffers()])
    assert measured[name].infer_peak - own == pytest.approx(peak, rel=0.1)


def test_the_same_network_is_measured_once(measured):
    assert measured["vit again"] is measured["vit"]


def test_what_is_reported_has_its_units(measured):
    network = network_of(NETWORKS["vit"])
    plain, cost = measured["vit"].plain(), measured["vit"]
    assert plain["params_m"] == sum(p.numel() for p in network.parameters()) / 1e6
    assert plain["macs_g"] == complexity(network, 32).macs / 1e9
    assert plain["train_peak_mib"] * MIB == cost.train_peak > cost.infer_peak
    assert plain["latency_ms"] == 1000 * cost.latency_s > 0
    assert plain["batch_size"] == BATCH and plain["images_per_s"] > 0


def test_networks_take_turns_and_medians_are_given(monkeypatch):
    """By a clock that slows down with every round, the same for all of them."""
    turns = []

    def passes(model, images, device, times):
        turns.append((type(model).__name__, len(images)))
        return [float(1 + (len(turns) - 1) // 4)] * times

    monkeypatch.setattr(costs, "_seconds", passes)
    monkeypatch.setattr(costs, "training_peak", lambda *_: 2)
    monkeypatch.setattr(costs, "inference_peak", lambda *_: 1)
    two = {name: NETWORKS[name] for name in ("vit", "convolutional")}
    found = measure_costs(two, BATCH, CPU, rounds=3)
    names = [name for name, images in turns if images == 1]
    assert len(turns) == 12 and set(names[0:2]) == set(names[2:4]) == set(names[4:6])
    assert names[0:2] == names[2:4][::-1] == names[4:6]
    assert {cost.latency_s for cost in found.values()} == {2.0}
    assert {cost.images_per_s for cost in found.values()} == {BATCH / 2}


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_a_gpu_the_allocator_is_asked():
    measured = measure_costs({"vit": NETWORKS["vit"]}, BATCH, torch.device("cuda"), rounds=1)["vit"]
    weights = sum(p.nbytes for p in network_of(NETWORKS["vit"]).parameters())
    assert measured.infer_peak > weights and measured.train_peak > 5 * weights
