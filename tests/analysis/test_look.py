"""Maps out of a network, against its parts run by hand."""

import pytest
import torch

from t2t.analysis.look import look_inside, shown_blocks
from t2t.errors import ConfigError
from t2t.models import create
from tests.nn import reference
from tests.nn.exactness import perturb, randn

TINY = {"image_size": (48, 32), "num_classes": 10, "width_factor": 0.1, "depth_factor": 0.3}


def as_maps(tokens, rows, columns):
    return tokens.reshape(len(tokens), rows, columns, -1).permute(0, 3, 1, 2).float()


@pytest.mark.parametrize(
    "name", ["t2t_vit_14", "t2t_vit_dense", "vit_base", "deit_small_distilled"]
)
def test_features_have_class_token_and_positions_in_them(name):
    model = perturb(create(name, **TINY))
    images = randn(2, 3, 48, 32)
    depth = len(model.blocks)
    look = look_inside(model, images, [1, depth])
    first = model.first_tokens().expand(2, -1, -1)
    x = torch.cat([first, model.tokenizer(images)], dim=1) + model.pos_embed
    for number, block in enumerate(model.blocks, 1):
        if number in look.attention:
            attended = block.attn.attention_map(block.norm1(x))[:, :, 0, first.shape[1] :]
            found = look.attention[number]
            torch.testing.assert_close(found, attended.unflatten(-1, (3, 2)).float())
            assert found.sum((2, 3)).max() < 1
        x = block(x)
        if number in look.features:
            expected = as_maps(x[:, first.shape[1] :], 3, 2)
            torch.testing.assert_close(look.features[number], expected)
    assert list(look.features) == [1, depth]
    torch.testing.assert_close(look.tokens[-1], as_maps(model.tokenizer(images), 3, 2))


@pytest.mark.parametrize(
    "name, grids",
    [
        ("t2t_vit_14", [(12, 8), (6, 4), (3, 2)]),
        ("t2t_vit_t_14", [(12, 8), (6, 4), (3, 2)]),
        ("t2t_vit_c_14", [(12, 8), (6, 4), (3, 2)]),
        ("vit_small", [(3, 2)]),
    ],
)
def test_tokens_of_each_step(name, grids):
    model = perturb(create(name, **TINY))
    look = look_inside(model, randn(2, 3, 48, 32))
    assert [tuple(maps.shape[2:]) for maps in look.tokens] == grids


def test_the_first_step_is_the_first_t2t_layer():
    model = perturb(create("t2t_vit_t_14", **TINY))
    images = randn(2, 3, 48, 32)
    tokens = model.tokens_to_token.attention1(images)
    first = look_inside(model, images).tokens[0]
    torch.testing.assert_close(first, as_maps(tokens, 12, 8))
    # Row by row: the token of a window in the image's lower left corner stands there.
    torch.testing.assert_close(first[:, :, 11, 0], tokens[:, 11 * 8].float())
    assert reference.windows(images, model.tokens_to_token.attention1.split).shape[1] == 12 * 8


@pytest.mark.parametrize("factor, blocks", [(1.0, (4, 5, 14)), (0.3, (4,)), (0.36, (4, 5))])
def test_blocks_4_and_5_and_the_last_are_shown(factor, blocks):
    sizes = {**TINY, "depth_factor": factor}
    assert shown_blocks(create("t2t_vit_14", **sizes)) == blocks


@pytest.mark.parametrize("blocks", [[0], [5]])
def test_blocks_that_are_not_there_are_refused(blocks):
    with pytest.raises(ConfigError, match=f"blocks 1 to 4, not {blocks[0]}"):
        look_inside(create("t2t_vit_14", **TINY), torch.zeros(1, 3, 48, 32), blocks)


def test_a_network_without_tokens_is_refused():
    with pytest.raises(ConfigError, match="is no network of tokens"):
        look_inside(create("resnet_50", **TINY), torch.zeros(1, 3, 48, 32))
