"""Published weights as a run: the authors' format, and everything that they may not be."""

import dataclasses
import hashlib
import json
import pickle

import pytest
import torch
from safetensors.torch import load_file

from t2t.data.sources import Roots
from t2t.errors import CheckpointError, ConfigError, DataError
from t2t.evaluation.released_run import obtain_weights, released_run
from t2t.evaluation.row import evaluate_row
from t2t.models import create
from t2t.training.config import network_of
from tests.data.serving import serving
from tests.runs import short_config

NETWORK = {"backbone": "t2t_vit", "width_factor": 0.25, "depth_factor": 0.3}
NAME = "81.5_T2T_ViT_14.pth.tar"


def network(**changes):
    torch.manual_seed(3)
    return create("t2t_vit_7", **{**NETWORK, "image_size": 32, "num_classes": 10, **changes})


@pytest.fixture
def publish(shards, tmp_path):
    """Puts a network's weights, in the authors' format, where a run of them is then made."""

    def published(model, name=NAME, **config):
        path = tmp_path / name
        torch.save({"epoch": 309, "arch": "x", "state_dict_ema": model.state_dict()}, path)
        wanted = dataclasses.replace(short_config(), row="theirs", **config)
        out = tmp_path / "runs" / "seed_0"
        return out, released_run(wanted, path, shards, tmp_path / "work", out, {}, 81.5)

    return published


def test_published_weights_score_what_their_network_does(publish, shards):
    model = network()
    out, resolved = publish(model)
    evaluation = evaluate_row(out.parent, shards)
    assert evaluation.ema == evaluation.raw
    own = model.state_dict()
    for name in ("ema", "raw"):
        kept = load_file(out / f"{name}.safetensors")
        assert kept.keys() == own.keys()
        assert all(torch.equal(kept[key], own[key]) for key in own)
    assert json.loads(json.dumps(resolved)) == json.loads((out / "config.json").read_text())
    assert evaluation.summary()["released"] == resolved["released"]
    sha256 = hashlib.sha256((out.parent.parent / NAME).read_bytes()).hexdigest()
    assert resolved["released"] == {"file": NAME, "sha256": sha256, "expected_top1_pct": 81.5}


def test_it_is_made_once_and_the_same_again(publish):
    out, first = publish(network())
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    _, second = publish(network())
    assert first == second
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


def test_other_weights_are_another_run(publish):
    _, first = publish(network())
    model = network()
    model.get_parameter("head.bias").data.add_(1)
    _, second = publish(model)
    assert first["digest"] != second["digest"]


def test_the_attention_scale_is_the_one_that_the_authors_were_scored_with(publish):
    """`pretrained=True` of their code would give embed_dim^-0.5: other maps, if there are heads."""
    out, resolved = publish(network(width_factor=0.5), width_factor=0.5)
    model = network_of(resolved)
    model.load_state_dict(load_file(out / "ema.safetensors"))
    attention, tokens = model.blocks[0].attn, torch.randn(1, 5, 128)
    query, key, _ = attention.qkv(tokens).chunk(3, dim=-1)
    width = 128 // attention.num_heads
    assert attention.num_heads > 1
    for head, found in enumerate(attention.attention_map(tokens)[0]):
        part = slice(head * width, (head + 1) * width)
        wanted = (query[0, :, part] @ key[0, :, part].T * width**-0.5).softmax(-1)
        torch.testing.assert_close(found, wanted)


def test_weights_of_other_classes_or_image_sizes_are_refused(publish):
    with pytest.raises(
        CheckpointError, match="head.* are of another number of classes than the 10"
    ):
        publish(network(num_classes=1000))
    with pytest.raises(CheckpointError, match="another image size than 32 pixels; choose .*phase"):
        publish(network(image_size=64))


def test_code_in_a_file_is_not_run(shards, tmp_path):
    class Evil:
        def __reduce__(self):
            return (open, (str(tmp_path / "witness"), "w"))

    path = tmp_path / NAME
    path.write_bytes(pickle.dumps({"state_dict_ema": Evil()}))
    with pytest.raises(CheckpointError, match="holds more than weights"):
        released_run(short_config(), path, shards, tmp_path / "work", tmp_path / "out", {}, None)
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "witness").exists()


@pytest.fixture(scope="module")
def server():
    with serving() as served:
        yield served


def test_a_url_is_fetched_once_into_the_downloads(server, tmp_path):
    address = server.add(NAME, b"weights").url
    sha256 = hashlib.sha256(b"weights").hexdigest()
    server.asked.clear()
    with pytest.raises(ConfigError, match=f"{NAME}: no checksum .* write `sha256: {sha256}` into"):
        obtain_weights(address, None, Roots(downloads=tmp_path))
    path = obtain_weights(address, sha256, Roots(downloads=tmp_path))
    assert path == tmp_path / "released" / NAME and path.read_bytes() == b"weights"
    assert server.asked == [NAME]
    with pytest.raises(DataError, match="SHA-256"):
        obtain_weights(address, "0" * 64, Roots(downloads=tmp_path))


def test_a_path_is_below_a_root(tmp_path):
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "x.pth").write_bytes(b"weights")
    roots = Roots(downloads=tmp_path / "downloads", shared=tmp_path)
    sha256 = hashlib.sha256(b"weights").hexdigest()
    assert obtain_weights("own/x.pth", sha256, roots) == tmp_path / "own" / "x.pth"
    with pytest.raises(ConfigError, match=f"x.pth: no checksum .* write `sha256: {sha256}` into"):
        obtain_weights("own/x.pth", None, roots)
    with pytest.raises(DataError, match="own/y.pth is not in .* put the file there"):
        obtain_weights("own/y.pth", None, roots)
    with pytest.raises(DataError, match="SHA-256 .*, expected 000"):
        obtain_weights("own/x.pth", "0" * 64, roots)
    for path in ("/etc/x.pth", "../x.pth"):
        with pytest.raises(ConfigError, match="must be relative"):
            obtain_weights(path, None, roots)
