"""Features and attention maps, against networks written out plainly."""

import pytest
import torch

from t2t.errors import ConfigError
from t2t.models import capture, create
from tests.nn import reference
from tests.nn.exactness import perturb, randn

TINY = {"image_size": (48, 32), "num_classes": 10, "width_factor": 0.1, "depth_factor": 0.3}


def _plain_maps(layer, x):
    query, key, _ = reference.queries_keys_values(layer, x)
    batch, length, dim = x.shape
    heads = (batch, length, layer.num_heads, dim // layer.num_heads)
    query, key = (y.reshape(heads).transpose(1, 2) for y in (query, key))
    return (query @ key.mT * heads[3] ** -0.5).softmax(-1)


@pytest.mark.parametrize(
    "name", ["t2t_vit_14", "t2t_vit_14_se", "t2t_vit_16_ghost", "t2t_vit_dense", "vit_base"]
)
def test_features_and_maps_of_every_block(name):
    model = perturb(create(name, **TINY))
    x = randn(2, 3, 48, 32)
    blocks = [i for i, block in enumerate(model.blocks) if hasattr(block, "attn")]
    maps = [f"blocks.{i}.attn" for i in blocks]
    with capture(model, [f"blocks.{i}" for i in range(len(model.blocks))], maps) as seen:
        logits = model(x)
    torch.testing.assert_close(logits, model(x), atol=0, rtol=0)

    tokens = reference.tokens(model.tokenizer, x)
    y = torch.cat([model.cls_token.expand(2, -1, -1), tokens], dim=1) + model.pos_embed
    for i, block in enumerate(model.blocks):
        if i in blocks:
            found = seen.attention[f"blocks.{i}.attn"]
            assert found.shape == (2, block.attn.num_heads, 7, 7)
            torch.testing.assert_close(found, _plain_maps(block.attn, block.norm1(y)))
            torch.testing.assert_close(found.sum(-1), torch.ones_like(found[..., 0]))
        y = reference.block(block, y)
        found = seen.features[f"blocks.{i}"]
        assert found.shape[1] == (1 if i == len(model.blocks) - 1 else 7)
        torch.testing.assert_close(found, y[:, : found.shape[1]])


def test_every_token_of_the_last_block():
    model = perturb(create("t2t_vit_7", **TINY))
    with capture(model, ["blocks.1", "tokens_to_token.attention1"]) as seen:
        tokens = model.forward_features(randn(2, 3, 48, 32))
    torch.testing.assert_close(model.norm(seen.features["blocks.1"]), tokens)
    assert seen.features["tokens_to_token.attention1"].shape[:2] == (2, 12 * 8)


def test_a_watched_network_takes_its_batch_whole_and_then_in_turns_again():
    model = perturb(create("t2t_vit_7", **TINY))
    model.tokenizer.pixels_at_once = 48 * 32
    x = randn(3, 3, 48, 32)
    with torch.no_grad(), capture(model, ["tokens_to_token.attention1"]) as seen:
        model(x)
    assert seen.features["tokens_to_token.attention1"].shape[0] == 3
    assert model.tokenizer.pixels_at_once == 48 * 32


def test_maps_of_the_t2t_transformer():
    model = perturb(create("t2t_vit_t_14", **TINY))
    x = randn(1, 3, 48, 32)
    names = ["tokens_to_token.attention1.attn", "tokens_to_token.attention2.attn"]
    with capture(model, attention=names) as seen:
        model(x)
    layer = model.tokens_to_token.attention1
    windows = reference.windows(x, layer.split)
    query, key, _ = layer.attn.qkv(layer.norm1(windows)).chunk(3, dim=-1)
    expected = (query @ key.mT * 147**-0.5).softmax(-1)
    torch.testing.assert_close(seen.attention[names[0]][:, 0], expected)
    assert seen.attention[names[1]].shape == (1, 1, 6 * 4, 6 * 4)


def test_half_precision_maps_still_sum_to_one():
    model = create("t2t_vit_7", **TINY)
    with torch.autocast("cpu", torch.bfloat16), capture(model, [], ["blocks.0.attn"]) as seen:
        model(randn(1, 3, 48, 32).float())
    total = seen.attention["blocks.0.attn"].sum(-1)
    torch.testing.assert_close(total, torch.ones_like(total))


def test_nothing_stays_behind():
    model = create("t2t_vit_7", **TINY)
    with pytest.raises(ZeroDivisionError), capture(model, ["norm"], ["blocks.0.attn"]):
        raise ZeroDivisionError
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"features": ["blocks.99"]}, "no module is called 'blocks.99'; the nearest: blocks"),
        (
            {"attention": ["tokens_to_token.attention1"]},
            "no module with an attention map .*the nearest: .*attn",
        ),
    ],
)
def test_unknown_names_are_refused(arguments, message):
    with pytest.raises(ConfigError, match=message):
        with capture(create("t2t_vit_7", **TINY), **arguments):
            pass


def test_a_network_without_maps_says_so():
    with pytest.raises(ConfigError, match="the network has none"):
        with capture(create("resnet_50", **TINY), attention=["layer1"]):
            pass
