"""Checkpoints as they are found in the wild."""

import argparse
import math
import os
import pickle

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from t2t.errors import CheckpointError
from t2t.models import create, load_released, save_safetensors

TINY = {"image_size": 32, "num_classes": 10, "width_factor": 0.1, "depth_factor": 0.3}


def _network(name="t2t_vit_7", seed=0, **changes):
    torch.manual_seed(seed)
    return create(name, **(TINY | changes))


def _assert_equal(model, state, but=()):
    own = model.state_dict()
    assert own.keys() == state.keys()
    for key, value in own.items():
        assert torch.equal(value, state[key]) != (key in but), key


def _write(tmp_path, content):
    path = tmp_path / "checkpoint.pth.tar"
    torch.save(content, path)
    return path


CONTAINERS = {
    "plain": lambda state: state,
    "state_dict_ema": lambda state: {
        "epoch": 3,
        "arch": "t2t_vit_7",
        "args": argparse.Namespace(lr=1e-3, aa="rand-m9"),
        "state_dict": {key: torch.zeros_like(value) for key, value in state.items()},
        "state_dict_ema": state,
        "metric": 81.5,
    },
    "state_dict": lambda state: {"state_dict": state, "epoch": 1},
    "model": lambda state: {"model": state},
    "net": lambda state: {
        "net": {f"module.{key}": value for key, value in state.items()},
        "acc": 98.3,
        "epoch": 59,
    },
}


@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize("zip_format", [True, False])
def test_every_container_is_found(tmp_path, container, zip_format):
    state = _network().state_dict()
    path = tmp_path / "released.pth.tar"
    torch.save(CONTAINERS[container](state), path, _use_new_zipfile_serialization=zip_format)
    model = _network(seed=1)
    loaded = load_released(model, path)
    _assert_equal(model, state)
    assert loaded.container == ("" if container == "plain" else container)
    assert (loaded.remade, loaded.position) == ((), "kept")


@pytest.mark.parametrize("name", ["t2t_vit_7", "deit_small_distilled", "resnet_50"])
def test_safetensors_there_and_back(tmp_path, name):
    model, path = _network(name), tmp_path / "weights.safetensors"
    save_safetensors(model, path)
    again = _network(name, seed=1)
    load_released(again, path)
    _assert_equal(again, model.state_dict())
    assert os.listdir(tmp_path) == [path.name]


def test_an_interrupted_save_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "weights.safetensors"
    save_safetensors(_network(), path)
    before = path.read_bytes()
    monkeypatch.setattr("t2t.models.released.commit", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        save_safetensors(_network(seed=1), path)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == [path.name]


@pytest.mark.parametrize(
    ("name", "remade"),
    [
        ("t2t_vit_7", {"head.weight", "head.bias"}),
        (
            "deit_small_distilled",
            {"head.weight", "head.bias", "head_dist.weight", "head_dist.bias"},
        ),
        ("resnet_50", {"fc.weight", "fc.bias"}),
    ],
)
def test_another_number_of_classes_keeps_the_models_head(tmp_path, name, remade):
    path = _write(tmp_path, _network(name, num_classes=7).state_dict())
    model = _network(name, seed=1)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    loaded = load_released(model, path)
    assert set(loaded.remade) == remade
    assert all(torch.equal(model.state_dict()[key], before[key]) for key in remade)
    assert model(torch.zeros(2, 3, 32, 32)).shape == (2, 10)


@pytest.mark.parametrize(("name", "first"), [("vit_base", 1), ("deit_small_distilled", 2)])
def test_learnt_positions_are_interpolated(tmp_path, name, first):
    source = _network(name, image_size=64)
    model = _network(name, seed=1, image_size=(96, 48))
    loaded = load_released(model, _write(tmp_path, source.state_dict()))
    assert loaded.position == "interpolated"
    assert torch.equal(model.pos_embed[:, :first], source.pos_embed[:, :first])
    old = source.pos_embed[:, first:].reshape(1, 4, 4, -1).permute(0, 3, 1, 2)
    new = F.interpolate(old, (6, 3), mode="bicubic", align_corners=False)
    torch.testing.assert_close(
        model.pos_embed[:, first:], new.permute(0, 2, 3, 1).reshape(1, 18, -1)
    )
    _assert_equal(model, source.state_dict() | {"pos_embed": model.pos_embed})


def test_fixed_positions_are_recomputed_or_interpolated(tmp_path):
    path = _write(tmp_path, _network(image_size=64).state_dict())
    fresh = _network(image_size=96).pos_embed
    model = _network(seed=1, image_size=96)
    assert load_released(model, path).position == "recomputed"
    assert torch.equal(model.pos_embed, fresh)
    assert load_released(model, path, position="interpolate").position == "interpolated"
    assert not torch.allclose(model.pos_embed, fresh, atol=0.1)
    assert torch.equal(model.pos_embed[:, 0], fresh[:, 0])
    assert not model.pos_embed.requires_grad


def test_our_own_files_know_their_image_size(tmp_path):
    """As many patches in another shape are no reason to take positions as they stand."""
    source, path = _network("vit_base", image_size=(32, 128)), tmp_path / "wide.safetensors"
    save_safetensors(source, path)
    same, other = (_network("vit_base", seed=1, image_size=s) for s in ((32, 128), 64))
    assert load_released(same, path).position == "kept"
    assert torch.equal(same.pos_embed, source.pos_embed)
    assert load_released(other, path).position == "interpolated"
    assert not torch.allclose(other.pos_embed, source.pos_embed, atol=1e-3)


def _changed(change):
    state = _network().state_dict()
    change(state)
    return state


_NAN = torch.full((24,), math.nan)


def _with(key, value):
    return _changed(lambda state: state.update({key: value}))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (lambda: _changed(lambda s: s.pop("norm.bias")), r"lacks norm\.bias \(24\)"),
        (lambda: _changed(lambda s: s.update(ema=torch.ones(2, 3))), r"has besides ema \(2, 3\)"),
        (
            lambda: _changed(lambda s: s.update({"norm.bias": torch.ones(5)})),
            r"has norm\.bias \(5\) where \(24\) is wanted",
        ),
        (lambda: _network("t2t_vit_t_14").state_dict(), r"lacks .* and \d+ more; has besides"),
        (lambda: _network("vit_base").state_dict(), "do not fit"),
        (lambda: _changed(lambda s: s.update(pos_embed=torch.ones(1, 9, 24))), "pos_embed"),
        (lambda: _with("norm.bias", _NAN), r"norm\.bias holds NaN or infinity"),
        (lambda: _with("norm.bias", _NAN.double().nan_to_num(1e300)), r"norm\.bias holds NaN or"),
        (lambda: _with("norm.bias", _NAN.to(torch.complex64)), r"norm\.bias is complex64"),
        (lambda: _with("norm.bias", torch.ones(24, dtype=torch.int8)), r"norm\.bias is int8"),
        (lambda: _with("norm.bias", torch.ones(24, dtype=torch.bool)), r"norm\.bias is bool"),
        (lambda: _with("norm.bias", torch.ones(24, device="meta")), r"norm\.bias is meta float32"),
        (lambda: _with("norm.bias", torch.ones(24).to_sparse()), r"norm\.bias is sparse_coo"),
        (lambda: _with("pos_embed", torch.full((1, 17, 24), math.nan)), "pos_embed holds NaN"),
        (lambda: {"epoch": 3}, "'epoch' is a int"),
        (lambda: {}, "holds no weights"),
        (lambda: torch.ones(3), "holds a Tensor, not weights"),
        (lambda: nn.Linear(2, 2), "holds more than weights"),
    ],
)
@pytest.mark.filterwarnings("ignore:Validating sparse")
def test_what_does_not_fit_is_named_and_changes_nothing(tmp_path, content, message):
    path, model = _write(tmp_path, content()), _network(seed=1)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    with pytest.raises(CheckpointError, match=message) as raised:
        load_released(model, path)
    assert str(path) in str(raised.value) and "\n" not in str(raised.value)
    _assert_equal(model, before)


class _Malice:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


@pytest.mark.parametrize("form", ["zip", "legacy", "pickle"])
def test_no_code_of_a_file_is_run(tmp_path, form):
    path, sign = tmp_path / "released.pth", tmp_path / "it_ran"
    content = {"state_dict_ema": _network().state_dict(), "args": _Malice(sign)}
    if form == "pickle":
        path.write_bytes(pickle.dumps(content))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=form == "zip")
    with pytest.raises(CheckpointError, match="holds more than weights"):
        load_released(_network(), path)
    assert not sign.exists()


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_damaged_files_are_refused(tmp_path, suffix):
    path = tmp_path / f"released{suffix}"
    if suffix == ".pth":
        torch.save(_network().state_dict(), path)
    else:
        save_safetensors(_network(), path)
    whole = path.read_bytes()
    for damaged in (b"", b"not a checkpoint", whole[: len(whole) // 2], whole[:100]):
        path.write_bytes(damaged)
        with pytest.raises(CheckpointError, match=path.name) as raised:
            load_released(_network(), path)
        assert "\n" not in str(raised.value)


def test_counts_are_integers_and_weights_of_other_precisions_are_taken(tmp_path):
    model = _network("resnet_50")
    state = {
        key: value.half() if value.is_floating_point() else value.int()
        for key, value in model.state_dict().items()
    }
    again = _network("resnet_50", seed=1)
    load_released(again, _write(tmp_path, state))
    _assert_equal(again, {k: v.to(model.state_dict()[k].dtype) for k, v in state.items()})
    counter = next(key for key in state if key.endswith("num_batches_tracked"))
    with pytest.raises(CheckpointError, match=f"{counter} is float32; a network needs integers"):
        load_released(again, _write(tmp_path, state | {counter: torch.tensor(1.0)}))


def test_a_flipped_bit_in_a_zip_is_noticed(tmp_path):
    model = _network()
    path = _write(tmp_path, model.state_dict())
    content = bytearray(path.read_bytes())
    content[content.index(model.state_dict()["head.weight"].numpy().tobytes()) + 7] ^= 1
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="checkpoint.pth.tar: damaged: .* another CRC-32"):
        load_released(_network(seed=1), path)


def test_an_absent_file_is_named(tmp_path):
    with pytest.raises(CheckpointError, match="absent.pth: no such file"):
        load_released(_network(), tmp_path / "absent.pth")
