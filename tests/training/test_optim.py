"""The optimiser of a transfer, against torch's own parts and plain arithmetic."""

import dataclasses

import pytest
import torch
from torch import nn
from torch.optim.lr_scheduler import CosineAnnealingLR

from t2t.errors import ConfigError
from t2t.models import create
from t2t.training.optim import freeze, optimizer_of, parameter_groups, set_learning_rates
from tests.runs import SHORT

# The official transfer code (README's --lr 0.05; the script's own default is 0.01).
PAPER = dataclasses.replace(
    SHORT,
    epochs=60,
    cooldown_epochs=0,
    warmup_epochs=0,
    lr=0.05,
    min_lr=2e-4,
    backbone_lr_factor=0.01,
    optimizer="sgd",
    momentum=0.9,
    weight_decay=5e-4,
    decay_all=True,
    frozen=("norm", "cls_token"),
)


def network(variant="t2t_vit_14", backbone="t2t_vit"):
    return create(
        variant, backbone=backbone, image_size=32, num_classes=10, width_factor=0.1,
        depth_factor=0.1,
    )  # fmt: skip


@pytest.mark.parametrize("lr", [0.05, 0.01])
def test_each_group_has_the_cosine_of_torch(lr):
    """At a rate of 0.01 the backbone's peak, 1e-4, is below min_lr, and its rate rises."""
    recipe = dataclasses.replace(PAPER, lr=lr)
    optimizer = optimizer_of(network(), recipe)
    layers = [nn.Linear(1, 1), nn.Linear(1, 1)]
    groups = [
        {"params": layer.parameters(), "lr": factor * lr}
        for layer, factor in zip(layers, (0.01, 1.0), strict=True)
    ]
    theirs = torch.optim.SGD(groups, lr=lr)
    schedule = CosineAnnealingLR(theirs, T_max=60, eta_min=2e-4)
    seen = []
    for epoch in range(60):
        set_learning_rates(optimizer, recipe, epoch)
        rates = [group["lr"] for group in optimizer.param_groups]
        assert rates == pytest.approx([group["lr"] for group in theirs.param_groups], rel=1e-6)
        seen.append(rates[0])
        theirs.step()
        schedule.step()
    assert (seen[-1] > seen[0]) == (lr == 0.01)


def test_groups_are_the_official_codes():
    """Everything but the head at a hundredth; the final norm and the class token nowhere."""
    model = network()
    freeze(model, PAPER.frozen)
    backbone, head = parameter_groups(model, PAPER)
    assert (backbone["lr_factor"], head["lr_factor"]) == (0.01, 1.0)
    assert backbone["weight_decay"] == head["weight_decay"] == 5e-4
    name_of = {id(parameter): name for name, parameter in model.named_parameters()}
    names = [{name_of[id(p)] for p in group["params"]} for group in (backbone, head)]
    assert names[1] == {"head.weight", "head.bias"}
    assert {name.partition(".")[0] for name in names[0]} == {"tokens_to_token", "blocks"}
    fixed = {name for name, p in model.named_parameters() if not p.requires_grad}
    assert {"norm.weight", "norm.bias", "cls_token", "pos_embed"} <= fixed
    assert names[0] | names[1] | fixed == set(name_of.values())


@pytest.mark.parametrize(
    "variant, backbone, head",
    [
        ("vit_small", "vit", "head"),
        ("resnet_50", "cnn", "fc"),
        ("mobilenet_v2", "cnn", "classifier"),
    ],
)
def test_every_networks_head_is_told_from_its_backbone(variant, backbone, head):
    model = network(variant, backbone)
    (group,) = [g for g in parameter_groups(model, PAPER) if g["lr_factor"] == 1.0]
    expected = [id(p) for p in model.get_submodule(head).parameters()]
    assert [id(p) for p in group["params"]] == expected


def test_two_rates_and_two_decays_are_four_groups_of_every_parameter():
    model = network("vit_small", "vit")
    groups = parameter_groups(model, dataclasses.replace(PAPER, decay_all=False))
    settings = [(group["lr_factor"], group["weight_decay"]) for group in groups]
    assert settings == [(0.01, 5e-4), (0.01, 0.0), (1.0, 5e-4), (1.0, 0.0)]
    held = [id(p) for group in groups for p in group["params"]]
    assert sorted(held) == sorted(id(p) for p in model.parameters())


def test_sgd_is_the_plain_rule():
    """v <- 0.9 v + gradient + 5e-4 w; w <- w - rate * v, without Nesterov's look ahead."""
    torch.manual_seed(0)
    model = nn.ModuleDict({"body": nn.Linear(3, 4), "head": nn.Linear(4, 2)})
    optimizer = optimizer_of(model, PAPER)
    set_learning_rates(optimizer, PAPER, 0)
    expected = {name: p.detach().clone() for name, p in model.named_parameters()}
    momentum = {name: torch.zeros_like(p) for name, p in expected.items()}
    for _ in range(4):
        for name, parameter in model.named_parameters():
            parameter.grad = torch.randn_like(parameter)
            step = parameter.grad + 5e-4 * expected[name]
            momentum[name] = 0.9 * momentum[name] + step
            rate = 0.05 if name.startswith("head") else 5e-4
            expected[name] = expected[name] - rate * momentum[name]
        optimizer.step()
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter.detach(), expected[name])


def test_freezing_takes_whole_names_alone():
    model = network()
    freeze(model, ("blocks.0",))
    frozen = {name for name, p in model.named_parameters() if not p.requires_grad}
    assert {"blocks.0.norm1.weight", "blocks.0.attn.qkv.weight"} <= frozen
    assert "norm.weight" not in frozen and not any(n.startswith("blocks.1") for n in frozen)
    with pytest.raises(ConfigError, match="'nrom' is no parameter or module .* has cls_token, pos"):
        freeze(model, ("nrom",))
    with pytest.raises(ConfigError, match="'block' is no parameter"):
        freeze(model, ("block",))
