"""Likeness of heads, against plain formulas and heads made alike by hand."""

import pytest
import torch

from t2t.analysis.redundancy import compare_heads
from t2t.analysis.similarity import MapCosine, OutputCKA, similarity_to_others
from t2t.models import create
from tests.nn.exactness import perturb, randn

TINY = {"image_size": (48, 32), "num_classes": 10, "width_factor": 0.1, "depth_factor": 0.3}


def copy_head(layer, source, target):
    """Gives head `target` the queries, keys and values of head `source`."""
    with torch.no_grad():
        apart = layer.qkv.weight.view(3, layer.num_heads, -1, layer.qkv.in_features)
        apart[:, target] = apart[:, source]


def hsic_cka(x, y):
    """The same figure by kernels: HSIC(K, L) / sqrt(HSIC(K, K) HSIC(L, L)), K = X X^T, L = Y Y^T
    (equation 1 of Kornblith et al.)."""
    count = len(x)
    centre = torch.eye(count, dtype=x.dtype) - 1 / count

    def hsic(k, m):
        return torch.trace(k @ centre @ m @ centre)

    k, m = x @ x.T, y @ y.T
    return hsic(k, m) / (hsic(k, k) * hsic(m, m)).sqrt()


def test_cosine_is_the_mean_over_images_of_each_pairs_cosine():
    maps = randn(5, 3, 4, 7).softmax(-1)
    cosine = MapCosine()
    for part in maps.split(2):
        cosine.add(part)
    matrix = cosine.matrix()
    for i in range(3):
        for j in range(3):
            pairs = [torch.cosine_similarity(m[i].flatten(), m[j].flatten(), dim=0) for m in maps]
            assert matrix[i, j].item() == pytest.approx(torch.stack(pairs).mean().item())


def test_cka_is_that_of_the_kernels():
    outputs = randn(6, 5, 12) + 3
    cka = OutputCKA(heads=3)
    for part in outputs.split(4):
        cka.add(part)
    lines = outputs.flatten(0, 1).unflatten(1, (3, 4))
    expected = [[hsic_cka(lines[:, i], lines[:, j]) for j in range(3)] for i in range(3)]
    torch.testing.assert_close(cka.matrix(), torch.tensor(expected, dtype=torch.float64))


def test_cka_sees_no_rotation_scale_or_offset():
    x = randn(40, 4)
    rotation = torch.linalg.qr(randn(4, 4))[0]
    cka = OutputCKA(heads=2)
    cka.add(torch.cat([x, 3 * x @ rotation + 5], dim=1).unsqueeze(0))
    torch.testing.assert_close(cka.matrix(), torch.ones(2, 2, dtype=torch.float64))


def test_cka_of_a_head_that_never_varies_is_0():
    outputs = torch.cat([randn(1, 40, 4), torch.full((1, 40, 4), 7.3, dtype=torch.float64)], dim=2)
    cka = OutputCKA(heads=2)
    cka.add(outputs)
    torch.testing.assert_close(cka.matrix(), torch.diag(torch.tensor([1.0, 0.0])).double())


def test_mean_similarity_leaves_the_head_itself_out():
    matrix = torch.tensor([[1.0, 0.2, 0.4], [0.2, 1.0, 0.6], [0.4, 0.6, 1.0]])
    torch.testing.assert_close(similarity_to_others(matrix), torch.tensor([0.3, 0.4, 0.5]))


@pytest.mark.parametrize("block", [1, 3])
def test_heads_made_alike_have_similarity_1(block):
    """In the last block, whose class token's row alone counts, too."""
    model = perturb(create("t2t_vit_t_14", **TINY)).eval()
    layers = len(model.blocks)
    assert layers == 4
    copy_head(model.blocks[block].attn, 1, 4)
    found = compare_heads(model, randn(6, 3, 48, 32).split(4))
    for index, alike in enumerate(found):
        pair = torch.stack([alike.similarity[1, 4], alike.cka[1, 4]])
        assert torch.allclose(pair, torch.ones_like(pair), rtol=0, atol=1e-9) == (index == block)
        others = alike.similarity[0, 1:]
        assert ((others > 0) & (others < 1 - 1e-6)).all()


def test_the_last_block_is_compared_in_the_class_tokens_row():
    model = perturb(create("vit_small", **TINY)).eval()
    images = randn(3, 3, 48, 32)
    *_, last = compare_heads(model, [images])
    x = torch.cat([model.cls_token.expand(3, -1, -1), model.tokenizer(images)], 1) + model.pos_embed
    for block in model.blocks[:-1]:
        x = block(x)
    attn, norm = model.blocks[-1].attn, model.blocks[-1].norm1
    rows = torch.nn.functional.normalize(attn.attention_map(norm(x))[:, :, 0], dim=-1)
    torch.testing.assert_close(last.similarity, (rows @ rows.mT).mean(0))
