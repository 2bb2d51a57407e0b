import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from t2t.nn.soft_split import SoftSplit
from t2t.nn.token_performer import TokenPerformer
from t2t.nn.token_transformer import TokenTransformer
from t2t.nn.tokens_to_token import make_tokenizer
from tests.nn import reference
from tests.nn.exactness import assert_same_arithmetic, perturb, randn

SIZES = {"height": st.integers(1, 3), "width": st.integers(1, 3), "dim": st.sampled_from([8, 16])}


@settings(max_examples=8, deadline=None, derandomize=True)
@given(channels=st.integers(1, 4), of_pixels=st.booleans(), **SIZES)
def test_performer_equals_its_equations(channels, of_pixels, height, width, dim):
    layer = perturb(TokenPerformer(SoftSplit(3, 2, 1, of_pixels), channels, dim))
    x = randn(2, channels, 4 * height, 4 * width)
    assert_same_arithmetic(layer, layer, lambda x: reference.performer(layer, x), x)


@settings(max_examples=8, deadline=None, derandomize=True)
@given(channels=st.integers(1, 4), of_pixels=st.booleans(), **SIZES)
def test_transformer_equals_its_equations(channels, of_pixels, height, width, dim):
    layer = perturb(TokenTransformer(SoftSplit(3, 2, 1, of_pixels), channels, dim))
    x = randn(2, channels, 4 * height, 4 * width)
    assert_same_arithmetic(layer, layer, lambda x: reference.transformer(layer, x), x)


@pytest.mark.parametrize("tokens_type", ["performer", "transformer", "convolution", "patch"])
@pytest.mark.parametrize("size", [(32, 32), (48, 80)])
def test_tokenizers_equal_their_equations(tokens_type, size):
    tokenizer = perturb(make_tokenizer(tokens_type, 8, 12))
    x = randn(2, 3, *size)
    assert tokenizer(x).shape == (2, size[0] * size[1] // 256, 12)
    assert_same_arithmetic(tokenizer, tokenizer, lambda x: reference.tokens(tokenizer, x), x)


def test_random_features_are_orthogonal_and_frozen():
    w = TokenPerformer(SoftSplit(7, 4, 2), 3, 64).w
    assert not w.requires_grad
    torch.testing.assert_close(w @ w.T, 32 * torch.eye(32), atol=1e-4, rtol=0)
    assert w[0].norm().item() == pytest.approx(math.sqrt(32))


def test_performer_dropout_acts_in_training_only():
    torch.manual_seed(0)
    split = SoftSplit(3, 2, 1)
    x = randn(1, 3, 8, 8).float()
    layer, exact = TokenPerformer(split, 3, 8), TokenPerformer(split, 3, 8, dropout=0.0)
    exact.load_state_dict(layer.state_dict())
    assert not torch.equal(layer.train()(x), layer(x))
    assert torch.equal(layer.eval()(x), exact.train()(x))


def _relative_error(tokens: torch.Tensor, truth: torch.Tensor) -> float:
    return float((tokens.double() - truth).norm() / truth.norm())


@pytest.mark.parametrize("tokens_type", ["performer", "transformer"])
@pytest.mark.parametrize(
    ("contrast", "half_ratio", "full_ratio"), [(60.0, 1.05, 3), (1.0, 1.05, 5)]
)
def test_rounding_is_no_worse_than_when_unfolding(tokens_type, contrast, half_ratio, full_ratio):
    """Convolutions see pixels with their mean, which must not cost a nearly flat image its detail.

    Errors against float64, relative to the plain network's in the same precision.
    """
    torch.manual_seed(0)
    tokenizer = make_tokenizer(tokens_type, 64, 128, dropout=0.0).eval()
    levels = (230 + contrast * randn(2, 3, 64, 64)).round().clamp(0, 255)
    image = ((levels / 255 - 0.45) / 0.226).float()
    results = {}
    with torch.no_grad():
        for half in (True, False):
            with torch.autocast("cpu", torch.bfloat16, enabled=half):
                results[half] = tokenizer(image), reference.tokens(tokenizer, image)
        truth = reference.tokens(tokenizer.double(), image.double())
    for half, ratio in ((True, half_ratio), (False, full_ratio)):
        lean, plain = (_relative_error(tokens, truth) for tokens in results[half])
        assert lean <= ratio * plain
        assert lean < (0.02 if half else 1e-4)


@pytest.mark.parametrize("tokens_type", ["performer", "transformer"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("strength", [1.0, 30.0])
def test_half_precision_stays_finite(tokens_type, dtype, strength):
    torch.manual_seed(0)
    tokenizer = make_tokenizer(tokens_type, 64, 32)
    with torch.no_grad():
        for name, parameter in tokenizer.named_parameters():
            if name.endswith(("kqv.weight", "qkv.weight")):
                parameter.mul_(strength)
            if name.endswith("kqv.bias"):  # along w, random features reach their maximum, e^(m/2)
                w = tokenizer.get_submodule(name.removesuffix(".kqv.bias")).w
                parameter[:128] = torch.cat([w[0], w[0]]) / strength
    image = randn(2, 3, 64, 64).float()
    with torch.autocast("cpu", dtype):
        tokens = tokenizer(image)
    tokens.float().square().mean().backward()
    assert tokens.isfinite().all()
    for name, parameter in tokenizer.named_parameters():
        assert parameter.grad is None or parameter.grad.isfinite().all(), name


@pytest.mark.parametrize("tokens_type", ["performer", "transformer", "convolution", "patch"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_tokenizer_kept_in_half_precision_answers_in_it(tokens_type, dtype):
    torch.manual_seed(0)
    tokenizer = make_tokenizer(tokens_type, 16, 32, dropout=0.0)
    image = randn(1, 3, 32, 32).float()
    full = tokenizer(image)
    tokens = tokenizer.to(dtype)(image.to(dtype))
    assert tokens.dtype is dtype
    torch.testing.assert_close(tokens.float(), full, atol=0.05, rtol=0.05)


@pytest.mark.parametrize("tokens_type", ["performer", "transformer"])
def test_images_in_turns_are_the_images_at_once(tokens_type):
    tokenizer = perturb(make_tokenizer(tokens_type, 8, 12))
    x = randn(5, 3, 32, 48)
    whole = tokenizer(x)
    calls = []
    tokenizer.attention1.register_forward_pre_hook(lambda _, inputs: calls.append(len(inputs[0])))
    tokenizer.pixels_at_once = 2 * 32 * 48
    with torch.no_grad():
        torch.testing.assert_close(tokenizer(x), whole)
    assert calls == [2, 2, 1]
    tokenizer(x)
    assert calls[3:] == [5], "with gradients the batch stays whole"
