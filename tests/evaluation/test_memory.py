import json
import math

import pytest
import torch
from torch.profiler import ProfilerActivity, profile

from t2t.evaluation.complexity import complexity
from t2t.evaluation.memory import training_memory
from t2t.models import create
from t2t.training.ema import AveragedModel
from t2t.training.objective import Objective
from t2t.training.optim import optimizer_of
from tests.runs import SHORT

SIZE, CLASSES, BATCH = 64, 10, 16
NETWORKS = ["t2t_vit_7", "t2t_vit_t_14", "vit_small", "deit_small_distilled", "mobilenet_v2"]


def small(name):
    torch.manual_seed(0)
    return create(
        name, image_size=SIZE, num_classes=CLASSES, width_factor=0.25, depth_factor=0.3
    ).train()


def batch():
    return torch.randn(BATCH, 3, SIZE, SIZE), torch.rand(BATCH, CLASSES)


def saved_bytes(model, bfloat16):
    """What autograd keeps of a forward pass over real images, and the batch and the loss."""
    own = {t.untyped_storage().data_ptr() for t in [*model.parameters(), *model.buffers()]}
    storages = {}

    def pack(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            storages[storage.data_ptr()] = storage.nbytes()
        return tensor

    images, targets = batch()
    hooks = torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor)
    with hooks, torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
        loss = Objective()(model, images, targets)
    for tensor in (images, targets, loss):
        pack(tensor)
    return sum(storages.values())


@pytest.mark.parametrize("name", NETWORKS)
def test_activations_are_what_autograd_keeps_of_real_images(name):
    model = small(name)
    counted = training_memory(model, BATCH, SIZE, CLASSES, bfloat16=False)
    assert counted.activations == saved_bytes(model, bfloat16=False)


@pytest.mark.parametrize("name", ["t2t_vit_t_14", "vit_small"])
def test_activations_under_autocast_are_smaller_and_counted_alike(name):
    model = small(name)
    half = training_memory(model, BATCH, SIZE, CLASSES, bfloat16=True)
    assert half.activations == saved_bytes(model, bfloat16=True)
    # At a large batch, where copies of the weights do not count, it is some two thirds.
    large = [
        training_memory(model, 100 * BATCH, SIZE, CLASSES, bfloat16=bfloat16).activations
        for bfloat16 in (True, False)
    ]
    assert 0.5 < large[0] / large[1] < 0.85


@pytest.mark.parametrize("name", ["t2t_vit_t_14", "mobilenet_v2"])
def test_peak_is_the_allocators(name, tmp_path):
    model = small(name)
    counted = training_memory(model, BATCH, SIZE, CLASSES, bfloat16=False)

    def step():
        images, targets = batch()
        Objective()(model, images, targets).backward()
        model.zero_grad(set_to_none=True)

    step()  # what libraries set up once
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        step()
    profiler.export_chrome_trace(str(tmp_path / "trace.json"))
    events = json.loads((tmp_path / "trace.json").read_text())["traceEvents"]
    allocations = sorted(
        (event["ts"], event["args"]["Total Allocated"], event["args"]["Bytes"])
        for event in events
        if event["name"] == "[memory]"
    )
    before = allocations[0][1] - allocations[0][2]
    peak = max(total for _, total, _ in allocations) - before
    lasting = counted.parameters + counted.average + counted.moments
    assert counted.peak - lasting == pytest.approx(peak, rel=0.03)


def test_what_lasts_is_as_large_as_the_real_thing():
    model = small("mobilenet_v2")  # with buffers
    counted = training_memory(model, BATCH, SIZE, CLASSES, bfloat16=False)
    average = AveragedModel(model, 0.9)
    optimizer = optimizer_of(model, SHORT)
    images, targets = batch()
    Objective()(model, images, targets).backward()
    optimizer.step()
    assert counted.average == sum(t.nbytes for t in average.module.state_dict().values())
    assert counted.parameters == sum(t.nbytes for t in model.state_dict().values())
    assert counted.gradients == sum(p.grad.nbytes for p in model.parameters())
    moments = [
        value.nbytes
        for state in optimizer.state.values()
        for key, value in state.items()
        if key.startswith("exp_avg")
    ]
    assert counted.moments == sum(moments)


def test_frozen_parameters_have_no_gradient():
    model = small("t2t_vit_7")  # fixed positions, the Performer's features
    size = complexity(model, SIZE)
    counted = training_memory(model, BATCH, SIZE, CLASSES, bfloat16=False)
    assert size.params_trainable < size.params
    assert counted.gradients == 4 * size.params_trainable
    assert counted.parameters == 4 * size.params


def test_a_batch_that_no_machine_holds_is_counted():
    with torch.device("meta"):
        model = create("vit_large", num_classes=1000, depth_factor=0.2)
    counted = training_memory(model, 1 << 20, 224, 1000, bfloat16=True)
    assert counted.peak > 2**43
    assert math.isclose(counted.peak, counted.activations, rel_tol=0.1)


def test_the_model_is_left_alone():
    model = small("vit_small").eval()
    before = {name: (id(p), p.device, p.clone()) for name, p in model.named_parameters()}
    training_memory(model, BATCH, SIZE, CLASSES, bfloat16=False)
    assert not model.training
    for name, parameter in model.named_parameters():
        identity, device, value = before[name]
        assert (id(parameter), parameter.device, parameter.grad) == (identity, device, None)
        assert torch.equal(parameter, value)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_peak_is_near_a_gpus():
    model = create("t2t_vit_14").cuda().train()
    counted = training_memory(model, 64, 224, 1000, bfloat16=True)
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    images, targets = torch.randn(64, 3, 224, 224).cuda(), torch.rand(64, 1000).cuda()
    with torch.autocast("cuda", torch.bfloat16):
        loss = Objective()(model, images, targets)
    loss.backward()
    peak = torch.cuda.max_memory_allocated() - before
    lasting = counted.parameters + counted.average + counted.moments
    assert counted.peak - lasting == pytest.approx(peak, rel=0.2)
