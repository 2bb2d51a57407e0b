from hypothesis import given
from hypothesis import strategies as st

from t2t.nn.scaling import scale_depth, scale_embed_dim, scale_token_dim

HEADS = st.sampled_from([4, 6, 7, 8, 12, 16, 32])


@given(heads=HEADS, head_dim=st.sampled_from([12, 64, 96]), factor=st.floats(0.01, 2))
def test_width_is_whole_equal_heads_and_even(heads, head_dim, factor):
    dim = scale_embed_dim(heads * head_dim, heads, factor)
    assert dim % heads == 0 and dim % 2 == 0 and dim >= 2 * heads
    assert abs(dim / heads - head_dim * factor) <= 2


@given(factor=st.floats(0.01, 2))
def test_token_dim_is_even_and_at_least_eight(factor):
    dim = scale_token_dim(64, factor)
    assert dim % 2 == 0 and dim == max(8, dim) and abs(dim - max(8, 64 * factor)) <= 1


def test_factor_one_changes_nothing():
    assert scale_embed_dim(384, 32, 1.0) == 384
    assert scale_embed_dim(448, 7, 1) == 448
    assert scale_token_dim(64, 1.0) == 64
    assert scale_depth(14, 1.0) == 14


def test_depth_rounds_half_up_and_keeps_a_block():
    assert [scale_depth(d, 0.5) for d in (4, 7, 14, 19, 24)] == [2, 4, 7, 10, 12]
    assert scale_depth(4, 0.01) == 1
