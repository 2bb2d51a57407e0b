"""The digits source, written down and read back."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from pipelines.graph import stage_inputs
from t2t.data.sources import load_source, open_prepared, prepare, source_names
from t2t.data.sources.arrays import ArraySplit
from t2t.data.sources.source import leaked_images
from t2t.errors import ConfigError, DataError
from tests.contracts.imports import ROOT, import_closure


def contents(folder) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def digits(split_seed: int):
    return load_source("digits", split_seed=split_seed, val_fraction=0.2)


def test_digits_holds_every_scan_once_split_by_class():
    source = digits(0)
    train, val = source.split("train"), source.split("val")
    assert (len(train), len(val), source.classes) == (1437, 360, tuple("0123456789"))
    ours = sorted(
        (label, image.tobytes())
        for part in (train, val)
        for image, label in map(part.__getitem__, range(len(part)))
    )
    raw = load_digits()
    scaled = (raw.images * 255 / 16).round().astype(np.uint8)
    assert ours == sorted((int(y), x.tobytes()) for x, y in zip(scaled, raw.target, strict=True))
    share = np.bincount(val.labels) / np.bincount(raw.target)
    assert np.abs(share - 0.2).max() < 0.01


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_turned_digits_are_the_same_scans_split_alike(turns):
    upright = digits(0)
    turned = load_source("digits", split_seed=0, val_fraction=0.2, quarter_turns=turns)
    for name in ("train", "val"):
        for index in (0, 100, 287):
            image, label = upright.split(name)[index]
            ours, same = turned.split(name)[index]
            assert label == same
            assert ours.tobytes() == image.rotate(90 * turns).tobytes() != image.tobytes()
    assert turned.facts["quarter_turns"] == turns


def test_a_few_of_each_class_are_some_of_the_training_images():
    few = load_source("digits", split_seed=0, val_fraction=0.2, train_per_class=10)
    whole = digits(0)
    assert np.bincount(few.split("train").labels).tolist() == [10] * 10
    known = {image.tobytes() for image in whole.split("train").images}
    assert {image.tobytes() for image in few.split("train").images} <= known
    assert (few.split("val").images == whole.split("val").images).all()
    with pytest.raises(DataError, match="500 images of each class are wanted, and a class has 139"):
        load_source("digits", split_seed=0, val_fraction=0.2, train_per_class=500)


def test_prepare_gives_equal_bytes_and_the_seed_matters(tmp_path):
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        prepare("digits", tmp_path / name, split_seed=seed, val_fraction=0.2)
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    assert contents(tmp_path / "a") != contents(tmp_path / "c")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b", "c"]


def test_the_committed_results_were_made_from_these_bytes(tmp_path):
    """Other bytes would write the shards of the digits scale, and train its rows, anew."""
    prepare("digits", tmp_path / "digits", split_seed=0, val_fraction=0.2)
    manifest = hashlib.sha256((tmp_path / "digits" / "manifest.json").read_bytes())
    assert manifest.hexdigest().startswith("4c5e219bb8251095")


def test_open_prepared_gives_what_was_prepared(prepared):
    source, again = digits(3), open_prepared(prepared)
    assert again.fingerprint == source.fingerprint and again.classes == source.classes
    image, label = again.split("val")[5]
    assert isinstance(image, Image.Image)
    assert (np.asarray(image) == source.split("val").images[5]).all()
    assert label == source.split("val").labels[5]
    with pytest.raises(ConfigError, match="no split 'test'"):
        again.split("test")


def test_fingerprint_covers_pixels_and_labels():
    base, pixels, labels = digits(0), digits(0), digits(0)
    pixels.split("val").images[0, 0, 0] ^= 1
    labels.split("val").labels[0] ^= 1
    assert len({base.fingerprint, pixels.fingerprint, labels.fingerprint}) == 3


def test_prepare_replaces_what_is_there_and_fails_without_a_trace(tmp_path, monkeypatch):
    out = tmp_path / "digits"
    prepare("digits", out, split_seed=0, val_fraction=0.2)
    before = contents(out)
    with monkeypatch.context() as patch:
        patch.setattr(np, "save", lambda *_: (_ for _ in ()).throw(OSError("no space left")))
        with pytest.raises(OSError, match="no space"):
            prepare("digits", out, split_seed=1, val_fraction=0.2)
    assert contents(out) == before and [path.name for path in tmp_path.iterdir()] == ["digits"]
    prepare("digits", out, split_seed=1, val_fraction=0.2)
    assert contents(out) != before


def test_leaked_images_are_counted_by_pixels():
    pixels = np.random.default_rng(0).integers(0, 255, (6, 4, 4), dtype=np.uint8)
    train = ArraySplit(pixels[:4], np.zeros(4, np.int64))
    val = ArraySplit(np.stack([pixels[1], pixels[5], pixels[1]]), np.ones(3, np.int64))
    assert leaked_images(train, val) == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"source_name": "mnist"}, "unknown source 'mnist'; there are cifar10, .*imagenette"),
        ({"val_fraction": 0.0}, "val_fraction"),
        ({"val_fraction": 1.0}, "val_fraction"),
    ],
)
def test_bad_arguments_are_named(tmp_path, arguments, message):
    given = {"source_name": "digits", "val_fraction": 0.2} | arguments
    with pytest.raises(ConfigError, match=message):
        prepare(out_dir=tmp_path / "x", split_seed=0, **given)


def test_open_prepared_names_the_damaged_file(tmp_path):
    out = tmp_path / "digits"

    def expect(problem: str) -> None:
        with pytest.raises(DataError, match=problem):
            open_prepared(out)
        prepare("digits", out, split_seed=0, val_fraction=0.2)

    expect("manifest.json: missing; prepare the data first")
    (out / "manifest.json").write_text("{")
    expect("manifest.json: unreadable")
    (out / "manifest.json").write_text("[]")
    expect("manifest.json: unreadable")
    (out / "manifest.json").write_text('{"format_version": 9}')
    expect("manifest.json: format 9")
    (out / "labels_val.npy").unlink()
    expect("labels_val.npy: missing")
    damaged = bytearray((out / "images_train.npy").read_bytes())
    damaged[1000] ^= 1
    (out / "images_train.npy").write_bytes(damaged)
    expect("images_train.npy: damaged")
    assert open_prepared(out).name == "digits"


@pytest.mark.parametrize("name", source_names())
def test_adapters_import_only_what_prepare_depends_on(name):
    """They are found by name, so a look at the imports of the stage does not see them."""
    declared = stage_inputs(ROOT, "prepare").paths
    adapter = ROOT / "t2t" / "data" / "sources" / "adapters" / f"{name}.py"
    for path in import_closure(Path(adapter)):
        covered = any(path.is_relative_to(root) for root in declared)
        assert covered or not path.stat().st_size, f"dvc.yaml: prepare does not declare {path}"
