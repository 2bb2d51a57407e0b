import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import nn

from t2t.nn.soft_split import SoftSplit, split_linear, split_norm_linear, to_map
from tests.nn import reference
from tests.nn.exactness import assert_same_arithmetic, perturb, randn

SPLIT = st.builds(
    lambda kernel, stride, padding, of_pixels: SoftSplit(
        kernel, stride, min(padding, kernel // 2), of_pixels
    ),
    st.integers(1, 7),
    st.integers(1, 4),
    st.integers(0, 3),
    st.booleans(),
)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    split=SPLIT,
    channels=st.integers(1, 5),
    height=st.integers(3, 13),
    width=st.integers(3, 13),
    bias=st.booleans(),
)
def test_split_and_what_follows_equal_unfolding(split, channels, height, width, bias):
    assume(min(height, width) + 2 * split.padding >= split.kernel)
    token_dim = split.token_dim(channels)
    assume(token_dim > 1)  # LayerNorm of one value is 0, and its variance has no gradient
    layers = perturb(nn.ModuleList([nn.LayerNorm(token_dim), nn.Linear(token_dim, 6, bias=bias)]))
    norm, linear = layers
    x = randn(2, channels, height, width)
    assert_same_arithmetic(
        layers,
        lambda x: split_norm_linear(x, split, norm, linear),
        lambda x: linear(norm(reference.windows(x, split))),
        x,
    )
    assert_same_arithmetic(
        linear,
        lambda x: split_linear(x, split, linear),
        lambda x: linear(reference.windows(x, split)),
        x,
    )
    assert split.tokens(height, width) == reference.windows(x, split).shape[1]


def test_tokens_become_a_map_in_row_order():
    tokens = randn(2, 12, 5)
    assert torch.equal(to_map(tokens, (3, 4)), reference.as_map(tokens, 3, 4))


@pytest.mark.parametrize("level", [0.0, 1.0, -2.1])
def test_a_window_without_contrast_stays_finite(level):
    split = SoftSplit(7, 4, 2, of_pixels=True)
    norm, linear = nn.LayerNorm(147), nn.Linear(147, 8)
    x = torch.full((1, 3, 32, 32), level, requires_grad=True)
    y = split_norm_linear(x, split, norm, linear)
    y.sum().backward()
    assert y.isfinite().all() and x.grad.isfinite().all()
    # Inside, away from the padding, every window is constant and its normalised values are 0.
    torch.testing.assert_close(to_map(y, (8, 8))[0, :, 4, 4], linear.bias, atol=1e-2, rtol=0)


def test_cancellation_in_the_variance_cannot_give_nan():
    split = SoftSplit(3, 2, 1)
    norm, linear = nn.LayerNorm(72), nn.Linear(72, 4)
    x = 1000 + 1e-3 * randn(4, 8, 32, 32).float()
    assert split_norm_linear(x, split, norm, linear).isfinite().all()
