"""A removed head, against the network whose `proj` does not read it."""

import copy

import pytest
import torch
import torch.nn.functional as F

from t2t.analysis.heads import attention_layers, without_head
from t2t.analysis.removal import remove_each_head
from t2t.errors import ConfigError
from t2t.models import create
from tests.nn.exactness import perturb, randn

TINY = {"image_size": (48, 32), "num_classes": 10, "width_factor": 0.1, "depth_factor": 0.3}
NAMES = ["t2t_vit_14", "t2t_vit_14_se", "t2t_vit_16_ghost", "t2t_vit_dense", "vit_base"]


def blind_to(model, layer, head):
    """A copy of `model` whose `proj` has zeros in that head's columns."""
    other = copy.deepcopy(model)
    proj = other.get_submodule(f"{layer.name}.proj")
    with torch.no_grad():
        proj.weight.unflatten(1, (layer.heads, -1))[:, head] = 0
    return other


@pytest.mark.parametrize("name", NAMES)
def test_a_network_without_a_head_is_one_whose_proj_does_not_read_it(name):
    model = perturb(create(name, **TINY)).eval()
    images = randn(2, 3, 48, 32)
    for layer in attention_layers(model):
        head = layer.number % layer.heads
        with torch.no_grad():
            with without_head(layer, head):
                removed = model(images)
            assert torch.equal(removed, blind_to(model, layer, head)(images))
            assert not torch.equal(removed, model(images))


@pytest.mark.parametrize("name", NAMES)
def test_every_heads_figures_are_those_of_a_whole_pass_without_it(name):
    model = perturb(create(name, **TINY)).eval()
    images, labels = randn(9, 3, 48, 32), torch.arange(9) % 10
    found = remove_each_head(model, zip(images.split(5), labels.split(5), strict=True))
    assert found.images == 9

    def scored(network):
        with torch.no_grad():
            logits = torch.cat([network(part) for part in images.split(5)]).float()
        right = (logits.argmax(1) == labels).double().mean().item()
        return 100 * right, F.cross_entropy(logits.double(), labels).item()

    top1, loss = scored(model)
    assert (found.top1_pct, found.loss) == pytest.approx((top1, loss))
    layers = attention_layers(model)
    assert [len(drops) for drops in found.drop_pct] == [layer.heads for layer in layers]
    for layer, drops, rises in zip(layers, found.drop_pct, found.loss_rise, strict=True):
        for head, (drop, rise) in enumerate(zip(drops, rises, strict=True)):
            other_top1, other_loss = scored(blind_to(model, layer, head))
            assert drop == pytest.approx(top1 - other_top1)
            assert rise == pytest.approx(other_loss - loss, abs=1e-6)


def test_a_head_that_is_not_read_costs_nothing_and_no_hook_stays():
    model = perturb(create("t2t_vit_7", **TINY)).eval()
    layer = attention_layers(model)[0]
    with torch.no_grad():
        layer.proj.weight.unflatten(1, (layer.heads, -1))[:, 2] = 0
    found = remove_each_head(model, [(randn(4, 3, 48, 32), torch.arange(4))])
    assert found.loss_rise[0][2] == 0 and found.drop_pct[0][2] == 0
    assert found.loss_rise[0][1] != 0
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


def test_the_t2t_module_has_no_heads_to_compare():
    model = create("t2t_vit_t_14", **TINY)
    assert [layer.name for layer in attention_layers(model)] == [
        f"blocks.{i}.attn" for i in range(len(model.blocks))
    ]


@pytest.mark.parametrize(
    "name, problem",
    [("resnet_50", "no network of tokens"), ("deit_small_distilled", "answers from two tokens")],
)
def test_networks_without_such_heads_are_refused(name, problem):
    with pytest.raises(ConfigError, match=problem):
        attention_layers(create(name, **TINY | {"image_size": 32}))


def test_an_unknown_head_is_refused():
    (layer, *_) = attention_layers(create("t2t_vit_14", **TINY))
    with pytest.raises(ConfigError, match=r"blocks.0.attn has heads 0 to 5, not 6"):
        with without_head(layer, 6):
            pass
