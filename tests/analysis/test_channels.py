"""Dead and saturated channels, planted by hand."""

import torch

from t2t.analysis.channels import DEAD_BELOW, SATURATED_ABOVE, ChannelSizes
from t2t.analysis.redundancy import compare_heads
from t2t.models import create
from tests.nn.exactness import randn


def sizes_of(features):
    sizes = ChannelSizes()
    for part in features.split(3):
        sizes.add(part)
    return sizes


def test_sizes_are_root_mean_squares_over_images_and_tokens():
    features = randn(7, 5, 9)
    torch.testing.assert_close(sizes_of(features).rms(), features.square().mean((0, 1)).sqrt())


def test_planted_channels_are_found_and_no_others():
    features = torch.sign(randn(7, 5, 9))  # every channel of size 1
    features[..., 2] = 0
    features[..., 4] *= 0.9 * DEAD_BELOW
    features[..., 5] *= 1.1 * DEAD_BELOW
    features[..., 6] *= 0.9 * SATURATED_ABOVE
    features[..., 7] *= 1.1 * SATURATED_ABOVE
    sizes = sizes_of(features)
    assert sizes.dead().nonzero().flatten().tolist() == [2, 4]
    assert sizes.saturated().nonzero().flatten().tolist() == [7]


def test_one_token_of_one_image_wakes_a_dead_channel():
    features = torch.sign(randn(7, 5, 9))
    features[..., 2] = 0
    features[6, 4, 2] = 1
    assert not sizes_of(features).dead().any()


def test_a_layer_of_zeros_is_dead_and_not_saturated():
    sizes = sizes_of(torch.zeros(3, 2, 4))
    assert sizes.dead().all() and not sizes.saturated().any()


def test_a_networks_channels_are_those_of_its_blocks_outputs():
    """A block whose branches add nothing passes on the channels that stand before it."""
    model = create("vit_small", image_size=32, width_factor=0.1, depth_factor=0.3).eval()
    with torch.no_grad():
        for part in model.blocks.parameters():
            part.zero_()
        for whole in (model.patch_embed.proj.weight, model.cls_token):
            whole.zero_()
        model.patch_embed.proj.bias.fill_(1)
        model.cls_token.fill_(1)
        model.pos_embed.zero_()
        model.pos_embed[..., 3] = -1
        model.pos_embed[..., 8] = 9
    for alike in compare_heads(model, [torch.zeros(2, 3, 32, 32)]):
        assert alike.dead.nonzero().flatten().tolist() == [3]
        assert alike.saturated.nonzero().flatten().tolist() == [8]
