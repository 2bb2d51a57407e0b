"""Class folders as people have them: right ones are read, wrong ones refused with a reason."""

import gzip
import shutil
import tarfile
import zipfile
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from t2t.data.sources import Roots, load_source, prepare
from t2t.data.sources.source import leaked_images
from t2t.errors import ConfigError, DataError
from tests.data.pets import lay_pets, pets, pixels, spoil


@pytest.fixture
def small(photos, tmp_path):
    return lay_pets(photos, tmp_path / "downloads")


def test_images_come_as_they_lie_in_their_folders(small):
    source = pets(small)
    assert source.classes == ("Abyssinian", "Bengal", "american_bulldog")
    for split in ("train", "val"):
        files = sorted((small / "pets" / split).rglob("*.jpg"))
        found = source.split(split)
        assert len(found) == len(files) > 0
        for index, file in enumerate(files):
            image, label = found[index]
            assert source.classes[label] == file.parent.name
            assert image.filename == found.path_of(index) == str(file)
            with Image.open(file) as expected:
                assert (np.asarray(image) == np.asarray(expected)).all()
        with pytest.raises(IndexError):
            found[len(found)]


def pack(folder, archive):
    if archive.suffix == ".zip":
        with zipfile.ZipFile(archive, "w") as file:
            for path in sorted(folder.rglob("*")):
                file.write(path, path.relative_to(folder.parent))
        return
    plain = archive.with_suffix(".plain")
    with tarfile.open(plain, "w") as file:
        file.add(folder, folder.name)
    data = plain.read_bytes()
    plain.unlink()
    archive.write_bytes(data if archive.suffix == ".tar" else gzip.compress(data, mtime=0))


@pytest.mark.parametrize("suffix", [".tar", ".tar.gz", ".tgz", ".zip"])
def test_an_archive_of_a_read_only_root_is_unpacked_into_the_downloads(small, tmp_path, suffix):
    shared, downloads = tmp_path / "shared", tmp_path / "other"
    shared.mkdir()
    pack(small / "pets", shared / f"pets{suffix}")
    roots = Roots(downloads=downloads, shared=shared)
    source = load_source("imagefolder", roots=roots, path=f"pets{suffix}")
    for split in ("train", "val"):
        assert pixels(source.split(split)) == pixels(pets(small).split(split))
    assert [path.name for path in shared.iterdir()] == [f"pets{suffix}"]
    (unpacked,) = downloads.iterdir()
    marked = unpacked / "marked"
    marked.touch()
    load_source("imagefolder", roots=roots, path=f"pets{suffix}")
    assert marked.exists(), "unpacked although it was there"
    (small / "pets" / "train" / "Bengal" / "more.txt").touch()
    pack(small / "pets", shared / f"pets{suffix}")
    load_source("imagefolder", roots=roots, path=f"pets{suffix}")
    assert len(list(downloads.iterdir())) == 2, "another archive of the same name is another set"


def test_without_val_each_class_is_split_the_same_way_each_time(photos, small):
    shutil.rmtree(small / "pets")
    shutil.copytree(photos / "pets_small", small / "pets")
    how = {"val_fraction": 0.3, "split_seed": 1}
    source = pets(small, **how)
    parts = [source.split(split) for split in ("train", "val")]
    assert sorted(name for part in parts for name in part.names) == sorted(
        str(path.relative_to(small / "pets")) for path in (small / "pets").rglob("*.jpg")
    )
    total = np.bincount(np.concatenate([part.labels for part in parts]))
    assert (np.abs(np.bincount(parts[1].labels) - 0.3 * total) < 1).all()
    assert all(list(part.names) == sorted(part.names) for part in parts)
    assert pets(small, **how).fingerprint == source.fingerprint
    assert pets(small, **how | {"split_seed": 2}).fingerprint != source.fingerprint
    (small / "pets" / "train").mkdir()
    for name in source.classes:
        (small / "pets" / name).rename(small / "pets" / "train" / name)
    for part, name in zip(parts, ("train", "val"), strict=True):
        below = replace(part, names=tuple(f"train/{name}" for name in part.names))
        assert pixels(pets(small, **how).split(name)) == pixels(below)


def test_a_thousand_classes_in_the_order_of_their_names(photos, tmp_path):
    how = {"val_fraction": 0.5, "split_seed": 0}
    roots, path = Roots(shared=photos), "imagenet_1000x1_160px"
    with pytest.raises(DataError, match="each class needs an image on either side"):
        load_source("imagefolder", roots=roots, path=path, **how)
    for split in ("train", "val"):
        (tmp_path / "twice").mkdir(exist_ok=True)
        (tmp_path / "twice" / split).symlink_to(photos / path)
    source = load_source("imagefolder", roots=Roots(tmp_path), path="twice")
    wnids = (photos / "imagenet_meta" / "imagenet_synsets.txt").read_text().split()
    assert list(source.classes) == wnids
    assert source.split("val").labels.tolist() == list(range(1000))
    assert leaked_images(source.split("train"), source.split("val")) == 1000


FAULTS = {
    "class only in train": "1 only in train/: Bengal",
    "class only in val": "1 only in val/: Bombay",
    "hidden folder": r"val: \.ipynb_checkpoints is a hidden folder",
    "one level too high": r"one level too high\? path: wrapped/pets has a train/",
    "folder in a class": "train/Bengal: holds the folder Bengal/.*one level too high",
    "empty class": "train/Bombay: a class without images",
    "one class": "one folder only, american_bulldog/",
    "no train": "has val/ and no train/",
    "tab in a name": r"rename '.*a\\tb.jpg'",
    "no UTF-8 in a name": "rename .*no UTF-8",
    "link to nothing": "x.jpg: No such file",
    "absent": "cats is not in .*downloads; put the folder or archive there",
    "no archive": r"pets.txt: neither a folder nor one of \.tar",
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_faulty_folder_is_refused_with_its_reason(small, tmp_path, fault):
    parameters = {"path": "pets"} | spoil(small / "pets", fault)
    with pytest.raises(DataError, match=FAULTS[fault]):
        prepare("imagefolder", tmp_path / "out", roots=Roots(small), **parameters)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("fault", "parameters", "error", "message"),
    [
        ("", {"val_fraction": 0.2}, ConfigError, "val/ of its own; leave out val_fraction"),
        ("no val", {}, ConfigError, "no val/; add one, or give val_fraction"),
        ("", {"path": "../pets"}, ConfigError, "must be relative, below"),
        ("", {"path": "/pets"}, ConfigError, "must be relative, below"),
        ("empty root", {"val_fraction": 0.2}, DataError, "no class folders"),
        ("no val", {"val_fraction": 0.01}, DataError, "each class needs an image"),
    ],
)
def test_parameters_that_do_not_fit_the_folder(small, fault, parameters, error, message):
    spoil(small / "pets", fault)
    with pytest.raises(error, match=message):
        pets(small, **parameters)
