"""Imagenette, CIFAR and Flowers-102 as they are published."""

import hashlib
import io
import pickle
import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from scipy.io import loadmat, savemat
from torchvision.datasets import Imagenette

from t2t.data.sources import Roots, load_source, open_prepared, prepare
from t2t.data.sources.adapters import flowers102
from t2t.data.sources.fetch import Remote
from t2t.errors import ConfigError, DataError
from tests.data.serving import serving
from tests.data.test_sources_fetch import tar_bytes

SETS = [
    ("imagenette", {"size": "160px"}, "imagenette2-160.tgz", "imagenette2-160/"),
    ("imagenette", {"size": "full"}, "imagenette2.tgz", "imagenette2/"),
    ("cifar10", {}, "cifar-10-python.tar.gz", "cifar-10-batches-py/"),
    ("cifar100", {}, "cifar-100-python.tar.gz", "cifar-100-python/"),
    ("flowers102", {}, "flowers-102/imagelabels.mat", "flowers-102/imagelabels.mat"),
]


@pytest.mark.parametrize(("name", "parameters", "archive", "unpacked"), SETS)
def test_an_absent_set_says_how_to_get_it(tmp_path, name, parameters, archive, unpacked):
    roots = Roots(downloads=tmp_path / "downloads", shared=tmp_path)
    with pytest.raises(DataError) as caught:
        load_source(name, roots=roots, **parameters)
    for part in (archive, unpacked, str(tmp_path), "http", "`download: true`"):
        assert part in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def imagenette(photos, tmp_path_factory):
    """The real set with a short side of 128: as an archive of class folders, and as unpacked."""
    roots = Roots(downloads=tmp_path_factory.mktemp("imagenette"), shared=photos)
    archive = "imagenette2-128.tgz"
    folder = load_source("imagefolder", roots=roots, path=archive)
    (unpacked,) = roots.downloads.iterdir()
    (roots.downloads / "imagenette2-128").symlink_to(unpacked)
    return roots, Remote(f"http://127.0.0.1/{archive}", ""), folder


def test_imagenette_is_ten_classes_of_photographs(imagenette):
    roots, remote, folder = imagenette
    source = load_source("imagenette", roots=roots, size="160px", remote=remote)
    train, val = source.split("train"), source.split("val")
    assert (len(train), len(val), len(source.classes)) == (9469, 3925, 10)
    assert source.classes == folder.classes
    assert [train.sha256, val.sha256] == [folder.split(name).sha256 for name in ("train", "val")]
    image, label = val[3000]
    assert min(image.size) == 128 and source.classes[label] in val.path_of(3000)
    modes = [split[n][0].mode for split in (train, val) for n in range(len(split))]
    assert modes.count("L") == 242


def test_imagenette_is_prepared_as_an_index(imagenette, tmp_path):
    roots, remote, _ = imagenette
    given = {"roots": roots, "size": "160px", "remote": remote}
    manifest = prepare("imagenette", tmp_path / "out", **given)
    assert manifest["leaked_val_images"] == 0 and manifest["size"] == "160px"
    assert sum(manifest["counts"]["train"].values()) == 9469
    assert open_prepared(tmp_path / "out", roots).fingerprint == manifest["fingerprint"]
    index = (tmp_path / "out" / "val.tsv").read_text().splitlines()
    assert len(index) == 1 + 3925 and index[1].startswith("0\t")
    assert sum(path.stat().st_size for path in (tmp_path / "out").iterdir()) < 2_000_000


def test_imagenette_is_downloaded_and_one_in_part_refused(tmp_path):
    names = [
        f"imagenette2-9/{split}/{wnid}/1.JPEG"
        for split in ("train", "val")
        for wnid in Imagenette._WNID_TO_CLASS
    ]
    roots = Roots(downloads=tmp_path)
    given = {"roots": roots, "size": "160px"}
    with serving() as served:
        archive = tar_bytes([(name, b"x") for name in names], compressed=True)
        given["remote"] = served.add("imagenette2-9.tgz", archive)
        with pytest.raises(DataError, match=r"train: 10 images, 9,469 officially; remove .*9 and"):
            load_source("imagenette", download=True, **given)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "imagenette2-9",
        "imagenette2-9.tgz",
    ]
    with pytest.raises(ConfigError, match="no size '128px'; there are full, 320px, 160px"):
        load_source("imagenette", roots=roots, size="128px")


def test_cifar10_is_read_from_the_official_files(photos, tmp_path):
    script = photos / "unpack_cifar10.sh"
    subprocess.run(["bash", str(script), str(tmp_path)], check=True, env={"PYTHON": sys.executable})
    folder = tmp_path / "cifar-10-batches-py"
    manifest = prepare("cifar10", tmp_path / "out", roots=Roots(shared=tmp_path))
    assert manifest["counts"]["train"] == dict.fromkeys(manifest["classes"], 5000)
    assert manifest["counts"]["val"] == dict.fromkeys(manifest["classes"], 1000)
    source = open_prepared(tmp_path / "out")
    raw = pickle.loads((folder / "data_batch_2").read_bytes(), encoding="latin1")
    for index in (0, 9_999):
        image, label = source.split("train")[10_000 + index]
        planes = raw["data"][index].reshape(3, 32, 32)
        assert (np.asarray(image) == np.stack(list(planes), axis=-1)).all()
        assert label == raw["labels"][index]
    (folder / "data_batch_2").write_bytes((folder / "data_batch_1").read_bytes())
    with pytest.raises(DataError, match="cifar-10-batches-py: .*corrupted.*remove this folder"):
        load_source("cifar10", roots=Roots(shared=tmp_path))


def test_cifar100_without_its_files_is_not_the_set(tmp_path):
    (tmp_path / "cifar-100-python").mkdir()
    with pytest.raises(DataError, match="cifar-100-python: .*unpack cifar-100-python.tar.gz again"):
        load_source("cifar100", roots=Roots(tmp_path))


def matrix(**values) -> bytes:
    buffer = io.BytesIO()
    savemat(buffer, values)
    return buffer.getvalue()


def flower(number: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (9, 8), (number * 20, 0, 0)).save(buffer, "PNG")
    return buffer.getvalue()


def test_flowers_train_on_both_official_parts(tmp_path):
    numbers = range(1, 10)
    labels = [1, 2, 3, 1, 2, 3, 1, 2, 3]
    images = tar_bytes([(f"jpg/image_{n:05d}.jpg", flower(n)) for n in numbers], compressed=True)
    with serving() as served:
        release = flowers102.Release(
            served.add("102flowers.tgz", images),
            served.add("imagelabels.mat", matrix(labels=[labels])),
            served.add("setid.mat", matrix(trnid=[[9, 2]], valid=[[4, 3]], tstid=[[8, 1, 6]])),
            ("rose", "lily", "daisy"),
        )
        roots = Roots(downloads=tmp_path / "downloads")
        given = {"roots": roots, "release": release}
        prepare("flowers102", tmp_path / "out", download=True, **given)
    source = open_prepared(tmp_path / "out", roots)
    assert source.classes == release.classes
    for split, expected in (("train", [2, 3, 4, 9]), ("val", [1, 6, 8])):
        found = source.split(split)
        pairs = [(image.getpixel((0, 0))[0] // 20, label) for image, label in map(
            found.__getitem__, range(len(found)))]  # fmt: skip
        assert pairs == [(n, labels[n - 1] - 1) for n in expected]
    (roots.downloads / "flowers-102/jpg/image_00006.jpg").unlink()
    with pytest.raises(DataError, match="image_00006.jpg: missing; remove .*jpg and unpack"):
        load_source("flowers102", **given)


def test_flowers_official_files_are_the_known_ones(photos, tmp_path):
    release = flowers102.official()
    folder = photos / "flowers102_mat"
    for remote, name in ((release.labels, "imagelabels.mat"), (release.sets, "setid.mat")):
        assert remote == Remote(remote.url, hashlib.md5((folder / name).read_bytes()).hexdigest())
        assert remote.url.endswith(name)
    shutil.copytree(folder, tmp_path / "flowers-102")
    (tmp_path / "flowers-102" / "jpg").mkdir()
    for number in range(1, 8190):
        (tmp_path / f"flowers-102/jpg/image_{number:05d}.jpg").write_bytes(b"%d" % number)
    source = load_source("flowers102", roots=Roots(shared=tmp_path))
    train, val = source.split("train"), source.split("val")
    assert (len(train), len(val), len(source.classes)) == (2040, 6149, 102)
    assert np.bincount(train.labels).tolist() == [20] * 102
    assert np.bincount(np.concatenate([train.labels, val.labels])).min() == 40
    labels = loadmat(folder / "imagelabels.mat")["labels"][0]
    for split in (train, val):
        numbers = [int(name[len("jpg/image_") : -len(".jpg")]) for name in split.names]
        assert (labels[np.array(numbers) - 1] - 1 == split.labels).all()
    assert set(train.names).isdisjoint(val.names)
