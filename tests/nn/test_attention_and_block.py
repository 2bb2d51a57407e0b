import gc
import weakref

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.profiler import profile

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


def test_an_activation_computed_again_repeats_no_product():
    def products(recompute):
        mlp = perturb(Mlp(8, 24, recompute=recompute))
        with profile() as seen:
            mlp(randn(2, 5, 8)).sum().backward()
        return [event.name for event in seen.events() if event.name in ("aten::addmm", "aten::mm")]

    kept, recomputed = products(False), products(True)
    assert sorted(kept) == sorted(recomputed) and len(kept) > 4


def test_an_activation_computed_again_is_not_kept():
    mlp = perturb(Mlp(8, 24, recompute=True))
    dropped = []
    mlp.act.register_forward_hook(lambda *call: dropped.append(weakref.ref(call[2])))
    y = mlp(randn(2, 5, 8).requires_grad_())
    gc.collect()
    assert dropped[0]() is None
    y.sum().backward()
    assert len(dropped) == 2


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
