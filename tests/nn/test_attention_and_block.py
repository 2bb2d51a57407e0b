import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from t2t.errors import ConfigError
from t2t.nn.attention import Attention, SEAttention
from t2t.nn.block import Block, Mlp, drop_path_rates
from tests.nn import reference
from tests.nn.exactness import assert_same_arithmetic, perturb, randn


@settings(max_examples=20, deadline=None, derandomize=True)
@given(
    kind=st.sampled_from([Attention, SEAttention]),
    heads=st.integers(1, 4),
    head_dim=st.integers(1, 6),
    tokens=st.integers(1, 9),
    bias=st.booleans(),
    cls_only=st.booleans(),
)
def test_block_equals_its_equations(kind, heads, head_dim, tokens, bias, cls_only):
    dim = heads * head_dim + (heads * head_dim == 1)  # LayerNorm needs two values
    attn = kind(dim, heads if dim % heads == 0 else 1, qkv_bias=bias)
    block = perturb(Block(dim, attn, Mlp(dim, 2 * dim + 1)))
    kept = slice(0, 1) if cls_only else slice(None)
    assert_same_arithmetic(
        block,
        lambda x: block(x, cls_only),
        lambda x: reference.block(block, x)[:, kept],
        randn(2, tokens, dim),
    )


def test_a_width_that_heads_cannot_share_is_refused():
    with pytest.raises(ConfigError, match="width 10 in 4 heads"):
        Attention(10, 4)


def test_drop_path_rises_linearly_and_drops_whole_samples():
    assert drop_path_rates(0.1, 5) == pytest.approx([0, 0.025, 0.05, 0.075, 0.1])
    assert drop_path_rates(0.1, 1) == [0.0]
    torch.manual_seed(0)
    block = Block(8, Attention(8, 2), Mlp(8, 16), drop_path=0.9)
    x = torch.randn(64, 3, 8)
    unchanged = (block(x) == x).flatten(1).all(1)
    assert 0.6 < unchanged.float().mean() < 0.99
    assert not (block.eval()(x) == x).flatten(1).all(1).any()
