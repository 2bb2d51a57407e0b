import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from t2t.nn.attention import Attention
from t2t.nn.block import Block, Mlp
from t2t.nn.dense import DenseBlock, Transition
from t2t.nn.ghost import ChannelScale, GhostAttention, GhostMlp
from tests.nn import reference
from tests.nn.exactness import assert_same_arithmetic, perturb, randn

SHAPES = {
    "heads": st.integers(1, 4),
    "head_dim": st.sampled_from([2, 4, 6]),
    "tokens": st.integers(1, 9),
    "cls_only": st.booleans(),
}


def _assert_plain(module, x, cls_only):
    kept = slice(0, 1) if cls_only else slice(None)
    assert_same_arithmetic(
        module,
        lambda x: module(x, cls_only),
        lambda x: reference.block(module, x)[:, kept],
        x,
    )


@settings(max_examples=15, deadline=None, derandomize=True)
@given(**SHAPES)
def test_ghost_block_equals_its_equations(heads, head_dim, tokens, cls_only):
    dim = heads * head_dim
    block = perturb(Block(dim, GhostAttention(dim, heads), GhostMlp(dim)))
    _assert_plain(block, randn(2, tokens, dim), cls_only)


@settings(max_examples=15, deadline=None, derandomize=True)
@given(growth=st.integers(1, 5), **SHAPES)
def test_dense_block_equals_its_equations(heads, head_dim, tokens, cls_only, growth):
    dim = heads * head_dim
    block = perturb(DenseBlock(dim, growth, Attention(dim, heads), Mlp(dim, 2 * dim)))
    _assert_plain(block, randn(2, tokens, dim), cls_only)


@pytest.mark.parametrize("cls_only", [False, True])
def test_transition_equals_its_equations(cls_only):
    _assert_plain(perturb(Transition(6, 3)), randn(2, 5, 6), cls_only)


def test_scales_begin_as_a_depthwise_convolution_does():
    torch.manual_seed(0)
    weight = ChannelScale(4000).weight
    assert weight.shape == (4000, 1, 1)
    assert weight.abs().max() <= 1 and weight.mean().abs() < 0.05
    assert weight.std().item() == pytest.approx(3**-0.5, rel=0.05)
