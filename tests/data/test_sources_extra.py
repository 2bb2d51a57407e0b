"""ImageNet-ReaL and ImageNet-V2, made small: labels in their order, folders that are numbers."""

import dataclasses
import hashlib
import io
import json
import tarfile

import numpy as np
import pytest
from PIL import Image

from t2t.data.sources import Roots
from t2t.data.sources.fetch import Remote
from t2t.data.sources.imagenet_real import load_real
from t2t.data.sources.imagenet_v2 import ARCHIVE, FOLDER, IMAGES_OF_A_CLASS, load_v2
from t2t.errors import DataError
from tests.data.serving import serving

CLASSES = tuple(f"n{label:08d}" for label in range(12))  # "10" and "11" come before "2"
NOWHERE = Remote("http://127.0.0.1:9/file")


@pytest.fixture(scope="module")
def server():
    with serving() as served:
        yield served


def picture(label: int, number: int) -> bytes:
    """A PNG whose grey says which class it is of."""
    buffer = io.BytesIO()
    Image.new("RGB", (40, 40), (20 * label, number, 0)).save(buffer, "PNG")
    return buffer.getvalue()


def v2_files() -> dict[str, bytes]:
    return {
        f"{FOLDER}/{label}/{number:02d}.png": picture(label, number)
        for label in range(len(CLASSES))
        for number in range(IMAGES_OF_A_CLASS)
    }


def bare_tar(files: dict[str, bytes]) -> bytes:
    """As the makers' archive is, whose name ends in .tar.gz all the same."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def lay(root, files) -> Roots:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    return Roots(downloads=root / "downloads", shared=root)


def check_labels(source) -> None:
    """Each image has the label that its own grey says, classes in the order of their numbers."""
    split = source.split("val")
    labels = [label for _, label in (split[index] for index in range(len(split)))]
    assert labels == [label for label in range(12) for _ in range(IMAGES_OF_A_CLASS)]
    for index in range(len(split)):
        image, label = split[index]
        assert image.getpixel((0, 0)) == (20 * label, index % IMAGES_OF_A_CLASS, 0)
    assert source.classes == CLASSES


def test_v2s_folders_are_class_numbers_not_names_in_order(tmp_path):
    check_labels(load_v2(lay(tmp_path, v2_files()), classes=CLASSES, download=False))


def test_v2_is_fetched_and_unpacked_though_its_archive_is_no_gzip(server, tmp_path):
    content = bare_tar(v2_files())
    remote = server.add(ARCHIVE, content)
    remote = Remote(remote.url, sha256=hashlib.sha256(content).hexdigest())
    roots = Roots(downloads=tmp_path)
    source = load_v2(roots, classes=CLASSES, download=True, remote=remote)
    check_labels(source)
    server.asked.clear()
    again = load_v2(roots, classes=CLASSES, download=True, remote=remote)
    assert (server.asked, again.fingerprint) == ([], source.fingerprint)


def test_another_sha256_is_refused(server, tmp_path):
    remote = dataclasses.replace(server.add(ARCHIVE, b"x" * 100), md5=None, sha256="0" * 64)
    with pytest.raises(DataError, match="SHA-256 .*, expected 000.*nothing was kept"):
        load_v2(Roots(downloads=tmp_path), classes=CLASSES, download=True, remote=remote)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "fault, message",
    [
        ("an image is gone", f"{FOLDER}/3: 9 images, 10 officially"),
        ("a class is gone", "its folders are not 0 to 11"),
        ("a cut archive", "cut, damaged or encrypted"),
        ("missing", f"{ARCHIVE} .*or, unpacked, {FOLDER}/.* is not in .*put it there from"),
    ],
)
def test_a_v2_that_is_not_whole_is_refused(tmp_path, fault, message):
    files = v2_files()
    if fault == "an image is gone":
        del files[f"{FOLDER}/3/04.png"]
    elif fault == "a class is gone":
        files = {name: content for name, content in files.items() if "/11/" not in name}
    elif fault == "a cut archive":
        files = {ARCHIVE: bare_tar(files)[: 60 * 512]}
    else:
        files = {}
    roots = lay(tmp_path, files)
    with pytest.raises(DataError, match=message):
        load_v2(roots, classes=CLASSES, download=False, remote=Remote("http://127.0.0.1:9/x"))


def test_real_labels_are_as_they_stand(tmp_path):
    labels = [[3], [], [0, 11], [5, 4, 2]]
    roots = lay(tmp_path, {"imagenet/real.json": json.dumps(labels).encode()})
    assert load_real(roots, images=4, classes=12, download=False, remote=NOWHERE) == labels


@pytest.mark.parametrize(
    "content, message",
    [
        ([[1], [2]], "not a list of 4 entries"),
        ([[1], [2], [12], []], r"image 3: \[12\] is no list of classes 0..11"),
        ([[1], [2], [True], []], "image 3"),
        ({"0": [1]}, "not a list of 4 entries"),
        ("[[1", "no JSON"),
        (None, "imagenet/real.json is not in .*put it there from http"),
    ],
)
def test_other_real_labels_are_refused(tmp_path, content, message):
    text = content if isinstance(content, str) else json.dumps(content)
    roots = lay(tmp_path, {} if content is None else {"imagenet/real.json": text.encode()})
    with pytest.raises(DataError, match=message):
        load_real(roots, images=4, classes=12, download=False, remote=NOWHERE)


def test_v2s_images_are_all_there_is_to_its_fingerprint(tmp_path):
    first = load_v2(lay(tmp_path / "a", v2_files()), classes=CLASSES, download=False)
    files = v2_files() | {f"{FOLDER}/0/00.png": picture(0, 99)}
    other = load_v2(lay(tmp_path / "b", files), classes=CLASSES, download=False)
    assert first.fingerprint != other.fingerprint
    np.testing.assert_array_equal(first.split("val").labels, other.split("val").labels)
