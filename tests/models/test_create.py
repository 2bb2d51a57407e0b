import sys

import pytest
import torch

from t2t.errors import ConfigError
from t2t.models import backbone_of, backbones, create, names

TINY = {"image_size": 32, "num_classes": 10, "width_factor": 0.25, "depth_factor": 0.5}


def test_names_are_unique_and_each_has_its_backbone():
    assert len(names()) == len(set(names()))
    assert {backbone_of(name) for name in names()} == set(backbones())


def test_a_named_backbone_is_the_only_one_imported(monkeypatch):
    siblings = [f"t2t.models.{b}" for b in backbones() if b != "t2t_vit"]
    assert siblings
    for sibling in siblings:
        monkeypatch.delitem(sys.modules, sibling, raising=False)
    create("t2t_vit_7", backbone="t2t_vit", **TINY)
    assert not set(siblings) & sys.modules.keys()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "t2t_vit_15"}, "unknown network 't2t_vit_15': did you mean 't2t_vit_1[24579]?'"),
        (
            {"name": "vit_base", "backbone": "t2t_vit"},
            "unknown network 'vit_base'.*Known: t2t_vit_7",
        ),
        ({"backbone": "t2tvit"}, "unknown backbone 't2tvit': did you mean 't2t_vit'.*vit"),
        ({"drop_path": 0.1}, "unknown parameter of t2t_vit_14 'drop_path'.*'drop_path_rate'"),
        ({"depth": "12"}, "depth is '12': it must be of type int"),
        ({"depth": True}, "depth is True"),
        (
            {"tokens_type": "conv"},
            "tokens_type is 'conv': it must be one of performer, transformer",
        ),
        ({"depth": 0}, "depth is 0: it must be between 1 and 65536"),
        ({"embed_dim": 10**23}, "embed_dim is 1000.*: it must be between 1 and 65536"),
        ({"mlp_ratio": 0.0}, "mlp_ratio is 0.0: it must be a number greater than 0"),
        ({"mlp_ratio": float("inf")}, "mlp_ratio is inf"),
        ({"drop_path_rate": 2.0}, "drop_path_rate is 2.0: it must be at least 0 and less than 1"),
        ({"drop_path_rate": 1.0}, "drop_path_rate is 1.0"),
        ({"token_dropout": -0.1}, "token_dropout is -0.1"),
        ({"num_heads": 5}, "width 384 in 5 heads"),
        ({"image_size": 200}, "image_size is 200 x 200: each side must be a multiple of 16"),
        ({"image_size": (224, 0)}, "image_size is 224 x 0"),
        ({"width_factor": 0}, "width_factor is 0"),
        ({"depth_factor": float("nan")}, "depth_factor is nan"),
        ({"num_classes": 0}, "num_classes is 0"),
    ],
)
def test_mistakes_are_named(arguments, message):
    with torch.device("meta"), pytest.raises(ConfigError, match=message) as raised:
        create(**({"name": "t2t_vit_14"} | arguments))
    assert "\n" not in str(raised.value)


def test_an_override_changes_the_network():
    with torch.device("meta"):
        model = create("t2t_vit_14", drop_path_rate=0.2, depth=3, token_dropout=0)
    assert [block.drop_path.rate for block in model.blocks] == pytest.approx([0, 0.1, 0.2])
    assert model.tokens_to_token.attention1.dropout.p == 0


def test_initialisation_follows_the_seed():
    def state(seed):
        torch.manual_seed(seed)
        return create("t2t_vit_7", **TINY).state_dict()

    first, again, other = state(1), state(1), state(2)
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert not torch.equal(first["head.weight"], other["head.weight"])


def test_initial_values_are_the_recipes():
    torch.manual_seed(0)
    model = create("t2t_vit_14", image_size=32)
    assert model.blocks[3].attn.qkv.weight.std().item() == pytest.approx(0.02, rel=0.02)
    assert model.head.weight.std().item() == pytest.approx(0.02, rel=0.02)
    assert model.cls_token.std().item() == pytest.approx(0.02, rel=0.2)
    assert not model.head.bias.any() and not model.blocks[0].mlp.fc1.bias.any()
    assert (model.norm.weight == 1).all() and not model.norm.bias.any()
    assert not model.pos_embed.requires_grad
    vit = create("vit_small", **TINY)
    assert vit.pos_embed.requires_grad
    assert vit.pos_embed.std().item() == pytest.approx(0.02, rel=0.1)
