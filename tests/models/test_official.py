"""Equality with figures of the official code: keys, shapes, logits, tokens, gradients."""

import json
import zlib

import numpy as np
import pytest
import torch

from t2t.models import create, names

VARIANTS = [
    "t2t_vit_7",
    "t2t_vit_t_14",
    "t2t_vit_14_wide",
    "t2t_vit_14_se",
    "t2t_vit_dense",
    "t2t_vit_16_ghost",
]
RUNS = [(name, 64) for name in VARIANTS] + [("t2t_vit_7", 224), ("t2t_vit_t_14", 224)]

pytestmark = pytest.mark.golden


@pytest.fixture(scope="module")
def figures(reference):
    return json.loads((reference / "golden.json").read_text())


def _values(key, shape):
    """Parameter values that any implementation can draw from its key alone."""
    z = np.random.RandomState(zlib.crc32(key.encode()) % 2**31).standard_normal(shape)
    if key.endswith(".weight") and len(shape) == 1:
        return 1 + 0.1 * z
    if key.endswith(".w"):
        return 0.7 * z
    if key.endswith(".bias"):
        return 0.1 * z
    if key == "cls_token":
        return 0.5 * z
    return z * np.sqrt(1 / np.prod(shape[1:]))


def _filled(name, size):
    model = create(name, image_size=size).double().eval()
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            if key != "pos_embed":
                parameter.copy_(torch.from_numpy(_values(key, tuple(parameter.shape))))
    return model


def test_every_network_with_figures_is_compared(figures):
    assert set(VARIANTS) == set(figures) & set(names())
    assert set(RUNS) == {(v, s) for v in VARIANTS for s in (64, 224) if str(s) in figures[v]}


@pytest.mark.parametrize("name", VARIANTS)
def test_state_dict_has_the_released_keys_and_shapes(figures, name):
    with torch.device("meta"):
        state = create(name).state_dict()
    assert {k: list(v.shape) for k, v in state.items()} == figures[name]["state_dict"]


@pytest.mark.parametrize(("name", "size"), RUNS)
def test_values_and_gradients(figures, name, size):
    expected, model, seen = figures[name][str(size)], _filled(name, size), {}
    model.tokens_to_token.register_forward_hook(lambda m, i, tokens: seen.update(tokens=tokens))
    logits = model(torch.from_numpy(np.random.RandomState(7).standard_normal((2, 3, size, size))))
    loss = logits.square().mean()
    loss.backward()
    tokens = seen["tokens"]
    grads = {k: p.grad.norm().item() for k, p in model.named_parameters() if p.grad is not None}

    def close(value):
        return pytest.approx(value, rel=1e-9)

    assert list(tokens.shape) == expected["tokens_shape"]
    assert tokens.norm().item() == close(expected["tokens_norm"])
    assert tokens[0, 0, :8].tolist() == close(expected["tokens_0_0_8"])
    assert logits.norm(dim=1).tolist() == close(expected["logits_norm"])
    for row, wanted in zip(logits[:, :10].tolist(), expected["logits_0_10"], strict=True):
        assert row == close(wanted)
    assert loss.item() == close(expected["loss"])
    assert {k: grads[k] for k in expected["grad_norms"]} == close(expected["grad_norms"])
    assert np.linalg.norm(list(grads.values())) == close(expected["grad_norm_total"])
