"""What holds for every token network, at a size that trains in a moment."""

import pytest
import torch
import torch.nn.functional as F

from t2t.errors import ConfigError
from t2t.models import backbone_of, create, names
from tests.nn import reference
from tests.nn.exactness import assert_same_arithmetic, perturb, randn

TINY = {"image_size": 32, "num_classes": 10, "width_factor": 0.25, "depth_factor": 0.5}
KINDS = [
    "t2t_vit_7",
    "t2t_vit_t_14",
    "t2t_vit_c_14",
    "t2t_vit_14_wo_t2t",
    "t2t_vit_14_se",
    "vit_base",
    "vit_se",
    "t2t_vit_16_ghost",
    "vit_ghost",
    "t2t_vit_dense",
    "vit_dense",
    "deit_small",
    "deit_small_distilled",
]
CNNS = [name for name in names() if backbone_of(name) == "cnn"]


@pytest.mark.slow
@pytest.mark.parametrize("name", names())
def test_a_shrunk_network_learns_a_batch(name):
    torch.manual_seed(0)
    model = create(name, drop_path_rate=0.1, **TINY)
    images, labels = randn(8, 3, 32, 32).float(), torch.arange(8)
    optimizer = torch.optim.AdamW((p for p in model.parameters() if p.requires_grad), lr=1e-3)
    losses = []
    for _ in range(6):
        loss = F.cross_entropy(model(images), labels)
        optimizer.zero_grad()
        loss.backward()
        for key, parameter in model.named_parameters():
            assert (parameter.grad is not None) == parameter.requires_grad, key
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("size", [(32, 32), (48, 32)])
def test_forward_equals_the_plain_network(name, size):
    model = perturb(create(name, **(TINY | {"image_size": size, "width_factor": 0.1})))
    x = randn(2, 3, *size)
    assert_same_arithmetic(model, model, lambda x: reference.logits(model, x), x)


@pytest.mark.parametrize("name", KINDS)
def test_features_hold_every_token_and_agree_with_the_logits(name):
    model = perturb(create(name, **(TINY | {"image_size": (48, 32)})))
    x = randn(2, 3, 48, 32)
    features = model.forward_features(x)
    assert features.shape[1] == model.first_tokens().shape[1] + 3 * 2
    logits = model.head(features[:, 0])
    if name == "deit_small_distilled":
        logits = (logits + model.head_dist(features[:, 1])) / 2
    torch.testing.assert_close(logits, model(x))


def test_images_of_another_size_are_refused():
    model = create("t2t_vit_7", **TINY)
    with pytest.raises(ConfigError, match="images of 32 x 48 pixels .* made for 32 x 32"):
        model(torch.zeros(1, 3, 32, 48))


@pytest.mark.parametrize("name", CNNS)
@pytest.mark.parametrize("size", [(32, 32), (48, 80)])
def test_convolutional_networks_take_any_size(name, size):
    model = create(name, **(TINY | {"image_size": size}))
    assert model(randn(2, 3, *size).float()).shape == (2, 10)


@pytest.mark.parametrize("name", [n for n in CNNS if n not in ("densenet_201", "mobilenet_v1")])
def test_convolutional_networks_skip_branches_at_the_given_rate(name):
    rates = [
        module.drop_prob
        for module in create(name, drop_path_rate=0.2).modules()
        if type(module).__name__ == "DropPath"
    ]
    assert rates == sorted(rates) and 0.1 < rates[-1] <= 0.2


def test_what_is_computed_again_changes_no_gradient():
    """With dropout drawn anew from the same state."""
    results = []
    for recompute in (False, True):
        torch.manual_seed(0)
        model = create("t2t_vit_7", recompute=recompute, **TINY)
        loss = model(randn(2, 3, 32, 32).float()).square().sum()
        loss.backward()
        results.append([loss, *(p.grad for p in model.parameters() if p.requires_grad)])
    torch.testing.assert_close(results[0], results[1], atol=0, rtol=1e-5)


@pytest.mark.parametrize(
    "name", ["t2t_vit_7", "t2t_vit_t_14", "t2t_vit_14_se", "t2t_vit_16_ghost", "t2t_vit_dense"]
)
def test_compiles_as_one_graph_to_the_same_values(name):
    torch.manual_seed(0)
    model = create(name, token_dropout=0.0, **(TINY | {"depth_factor": 0.15}))
    x = randn(2, 3, 32, 32).float()
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    results = []
    for function in (model, compiled):
        model.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            logits = function(x)
        logits.float().square().sum().backward()
        results.append([logits, *(p.grad for p in model.parameters() if p.grad is not None)])
    torch.testing.assert_close(results[0], results[1], atol=1e-3, rtol=5e-2)


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_finite_and_near_full(name, dtype):
    torch.manual_seed(0)
    model = create(name, **TINY).eval()
    x = randn(4, 3, 32, 32).float()
    with torch.autocast("cpu", dtype):
        logits = model(x)
    logits.float().square().sum().backward()
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.requires_grad)
    torch.testing.assert_close(logits.float(), model(x), atol=0.02, rtol=0.05)


@pytest.mark.parametrize("factor", [0.1, 0.11, 0.125, 0.2, 0.25, 1 / 3, 0.5, 0.75, 1.0])
def test_shrinking_keeps_the_order_of_networks(factor):
    def widths_and_depths(model):
        return model.cls_token.shape[-1], len(model.blocks)

    with torch.device("meta"):
        seven, fourteen, nineteen, large, wide, many_heads = (
            widths_and_depths(
                create(f"t2t_vit_{n}", image_size=32, width_factor=factor, depth_factor=0.5)
            )
            for n in ("7", "14", "19", "24", "14_wide", "14_resnext")
        )
    widths, depths = zip(seven, fourteen, nineteen, large, strict=True)
    assert list(widths) == sorted(widths) and widths[0] < widths[1] < widths[3]
    assert list(depths) == sorted(set(depths))
    assert wide[0] > large[0] and wide[1] < seven[1]
    assert many_heads[1] == fourteen[1]
    if factor >= 0.2:
        assert abs(many_heads[0] - fourteen[0]) <= 0.2 * fourteen[0]


@pytest.mark.parametrize(
    ("name", "theirs"),
    [
        ("deit_small", "deit_small_patch16_224"),
        ("deit_small_distilled", "deit_small_distilled_patch16_224"),
        ("vit_base", "vit_base_patch16_224"),
    ],
)
def test_equals_timms_network_of_that_name(name, theirs):
    """Keys, and logits from the same weights, at a size that is not square."""
    import timm

    oracle = perturb(timm.create_model(theirs, img_size=(48, 32), num_classes=10, depth=2))
    model = create(name, image_size=(48, 32), num_classes=10, depth=2).double().eval()
    model.load_state_dict(oracle.state_dict())
    x = randn(2, 3, 48, 32)
    torch.testing.assert_close(model(x), oracle(x), rtol=1e-10, atol=1e-10)
