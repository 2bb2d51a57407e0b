"""Writing a shard, raw and as JPEG files, and the images that cannot be stored."""

import errno
import multiprocessing
import sys

import numpy as np
import pytest
from PIL import Image

from t2t.data.beton import ALLOCATION, DESCRIPTOR, HEADER, RECORD, BetonFile
from t2t.data.beton_writer import BetonWriter
from t2t.data.decode import decode_sample
from t2t.data.images import stored_pixels
from t2t.data.shard_manifest import manifest_path
from t2t.data.shards import write_shard
from t2t.data.sources import open_prepared
from t2t.data.stored_forms import JpegForm
from t2t.data.verify import verify_shard
from t2t.errors import ConfigError, DataError, EnvironmentProblem
from t2t.files import sha256_file
from tests.data.faulty import AllBad, FailsInChild, Mislabelled, Steady
from tests.data.photographs import Files, jpeg, photograph

JPEG = JpegForm(max_side_px=80, quality=90)


def write(samples, path, **arguments):
    given = {
        "split": "train",
        "classes": ("a", "b"),
        "image_size": 16,
        "source_fingerprint": "0" * 64,
        "workers": 1,
    }
    return write_shard(samples, path, **given | arguments)


def test_round_trip(prepared, digits_shard):
    samples = open_prepared(prepared).split("val")
    beton = BetonFile(digits_shard)
    expected = np.stack([stored_pixels(samples[i][0], 32, 1.0) for i in range(len(samples))])
    stored = [decode_sample(beton, i, beton.stored(i)) for i in range(beton.num_samples)]
    assert (np.stack(stored) == expected).all()
    assert (beton.labels == samples.labels).all()

    manifest = verify_shard(digits_shard)
    assert manifest.num_samples == 360 and manifest.split == "val"
    assert manifest.counts == tuple(np.bincount(samples.labels).tolist())
    assert manifest.source_fingerprint == open_prepared(prepared).fingerprint
    assert manifest.sha256 == sha256_file(digits_shard)
    np.testing.assert_allclose(manifest.channel_mean, expected.mean((0, 1, 2)) / 255, rtol=1e-12)
    np.testing.assert_allclose(manifest.channel_std, expected.std((0, 1, 2)) / 255, rtol=1e-12)


def test_jpeg_round_trip(photographs, jpeg_shard):
    beton, manifest = BetonFile(jpeg_shard), verify_shard(jpeg_shard)
    kept, pixels = 0, []
    for index in range(len(photographs)):
        with Image.open(photographs.paths[index]) as image:
            stored = JPEG.stored(image)
        assert beton.stored(index).tobytes() == stored.content
        kept += stored.content == photographs.paths[index].read_bytes()
        pixels.append(decode_sample(beton, index, beton.stored(index)).reshape(-1, 3))
        assert max(stored.height, stored.width) <= 80
    assert 8 < kept < 30  # some as they came, some compressed anew
    assert beton.labels.tolist() == [index % 2 for index in range(40)]
    told = (manifest.write_mode, manifest.max_side_px, manifest.quality, manifest.crop_pct)
    assert told == ("jpg", 80, 90, None) and manifest.image_size == 48
    assert manifest.counts == (20, 20) and manifest.skipped == ()
    every = np.concatenate(pixels)
    np.testing.assert_allclose(manifest.channel_mean, every.mean(0) / 255, rtol=1e-12)
    np.testing.assert_allclose(manifest.channel_std, every.std(0) / 255, rtol=1e-12)


@pytest.mark.parametrize("workers", [2, 4])
def test_workers_change_no_byte(noise_shard, tmp_path, workers):
    (tmp_path / ".other.beton.partial").write_bytes(b"a killed run's rest")
    again = tmp_path / "other.beton"
    write(Steady(53, 40), again, image_size=40, workers=workers)
    assert again.read_bytes() == noise_shard.read_bytes()
    assert manifest_path(again).read_bytes() == manifest_path(noise_shard).read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["other.beton", "other.beton.json"]


def test_workers_change_no_byte_of_a_jpeg_shard(photographs, jpeg_shard, tmp_path):
    again = tmp_path / "train.beton"
    write(photographs, again, image_size=48, jpeg=JPEG, workers=2)
    assert again.read_bytes() == jpeg_shard.read_bytes()
    assert manifest_path(again).read_bytes() == manifest_path(jpeg_shard).read_bytes()


@pytest.mark.parametrize("shard", ["noise_shard", "jpeg_shard"])
def test_the_layout_is_ffcvs(request, shard):
    from t2t.data.ffcv_import import import_ffcv

    import_ffcv()
    from ffcv import types
    from ffcv.reader import Reader

    path = request.getfixturevalue(shard)
    theirs, ours = Reader(str(path)), BetonFile(path)
    assert types.HeaderType.itemsize == HEADER.itemsize
    assert types.FieldDescType.itemsize == DESCRIPTOR.itemsize
    assert types.ALLOC_TABLE_TYPE.itemsize == ALLOCATION.itemsize
    assert theirs.metadata_type.itemsize == RECORD.itemsize
    assert theirs.metadata["f0"]["data_ptr"].tolist() == ours.records["image"]["address"].tolist()
    assert theirs.metadata["f1"].tolist() == ours.labels.tolist()
    assert theirs.alloc_table["size"].tolist() == ours.allocations["bytes"].tolist()


def test_more_pages_than_one(tmp_path):
    samples = Steady(30, 200)
    write(samples, tmp_path / "big.beton", image_size=200)
    beton = BetonFile(tmp_path / "big.beton")
    assert (tmp_path / "big.beton").stat().st_size > 2 * int(beton.header["page_size"])
    for index in range(30):
        assert beton.stored(index).tobytes() == samples[index][0].tobytes()


@pytest.mark.faults("dead or stuck encoder")
@pytest.mark.parametrize(
    ("how", "stall_timeout_s", "message"),
    [
        ("killed", 60.0, r"images 0 to 31: a worker died \(exit code -9"),
        ("sleeps", 1.5, "images 0 to 31: a worker made no progress for 1.5 s"),
    ],
)
def test_a_failing_worker_leaves_nothing(tmp_path, shm_kept_clean, how, stall_timeout_s, message):
    before = multiprocessing.active_children()
    with pytest.raises(DataError, match=message):
        write(FailsInChild(how=how), tmp_path / "x.beton", stall_timeout_s=stall_timeout_s)
    assert list(tmp_path.iterdir()) == [] and multiprocessing.active_children() == before


def test_a_refused_shard_keeps_the_one_before(copied, noise_shard):
    path = copied()
    with pytest.raises(DataError, match=r"35 bad of 40: image 5: the disk is gone; image 6"):
        write(FailsInChild(how="raises"), path)
    assert verify_shard(path) == verify_shard(noise_shard)
    assert len(list(path.parent.iterdir())) == 2


def test_what_is_read_back_must_be_what_came(tmp_path, monkeypatch):
    def forgetful(self, stored, real=BetonWriter.add, **size):
        real(self, stored[:-1] + b"\0", **size)

    monkeypatch.setattr(BetonWriter, "add", forgetful)
    with pytest.raises(DataError, match="reading back gave other images or labels"):
        write(Steady(), tmp_path / "x.beton")
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_the_machines_problem(tmp_path, monkeypatch):
    def full(self):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(BetonWriter, "finish", full)
    with pytest.raises(EnvironmentProblem, match=r"x.beton: cannot be written \(.*No space left"):
        write(Steady(), tmp_path / "x.beton")
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def half_bad(tmp_path):
    """Eight files of which the second, third, fifth and sixth cannot be stored."""
    folder = tmp_path / "files"
    folder.mkdir()
    good = jpeg(photograph(0, 64, 64))
    page = b"<html>not found</html>"
    for number, content in enumerate((good, good[:900], b"", good, page, None, good, good)):
        path = folder / f"{number}.jpg"
        if content is None:
            Image.new("F", (8, 8)).save(path, "TIFF")
        else:
            path.write_bytes(content)
    return Files(tuple(sorted(folder.iterdir())))


def test_bad_images_are_refused_by_index_and_path(half_bad, tmp_path):
    with pytest.raises(DataError) as caught:
        write(half_bad, tmp_path / "out" / "x.beton")
    text = str(caught.value)
    assert text.startswith("split 'train': 4 bad of 8: image 1 (")
    for index, why in ((1, "truncated"), (2, "cannot identify"), (5, "mode 'F' has no fixed")):
        assert f"image {index} ({half_bad.path_of(index)}): " in text and why in text
    assert "image 0" not in text and "image 3" not in text
    assert list((tmp_path / "out").iterdir()) == []


def test_unreadable_images_can_be_skipped_and_are_listed(half_bad, tmp_path, monkeypatch):
    monkeypatch.setattr("t2t.data.intake.SKIPPED_SHARE", 0.5)
    manifest = write(half_bad, tmp_path / "x.beton", unreadable="skip")
    assert manifest == verify_shard(tmp_path / "x.beton")
    assert (manifest.num_samples, manifest.counts) == (4, (2, 2))
    assert BetonFile(tmp_path / "x.beton").labels.tolist() == [0, 1, 0, 1]
    assert [line.partition(": ")[0] for line in manifest.skipped] == [
        f"image {index} (files/{index}.jpg)" for index in (1, 2, 4, 5)
    ]
    text = manifest_path(tmp_path / "x.beton").read_text()
    assert str(tmp_path) not in text and " at 0x" not in text


def test_more_than_one_in_a_hundred_is_too_many_to_skip(half_bad, tmp_path):
    with pytest.raises(DataError, match=r"1 bad of 2 \(more than 1% are unreadable\): image 1"):
        write(half_bad, tmp_path / "x.beton", unreadable="skip")
    assert [path.name for path in tmp_path.iterdir()] == ["files"]


@pytest.mark.parametrize("unreadable", ["refuse", "skip"])
def test_a_wrong_label_is_never_skipped(tmp_path, unreadable):
    with pytest.raises(DataError, match=r"1 bad of 4: image 2: label 7 is not in 0\.\.1"):
        write(Mislabelled(4), tmp_path / "x.beton", unreadable=unreadable)


def test_a_long_list_of_bad_images_is_cut(tmp_path, monkeypatch):
    with pytest.raises(DataError, match="40 bad of 40: image 0: .* image 9: [^;]* and 30 more$"):
        write(AllBad(), tmp_path / "x.beton")
    monkeypatch.setattr("t2t.data.intake.MOST_PROBLEMS", 20)
    with pytest.raises(DataError, match=r"20 bad of 20 \(the rest was not looked at\): image 0"):
        write(AllBad(), tmp_path / "x.beton")


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"samples": Steady(0)}, DataError, "has no images"),
        ({"classes": ("a", "b", "c")}, DataError, "no image of class c"),
        ({"image_size": 0}, ConfigError, r"1\.\.836 pixels, not 0"),
        ({"image_size": 837}, ConfigError, "not 837"),
        ({"crop_pct": 0.0}, ConfigError, "crop_pct"),
        ({"unreadable": "ignore"}, ConfigError, "unreadable must be refuse or skip, not 'ignore'"),
        ({"workers": 0}, ConfigError, "workers must be at least 1, not 0"),
        ({"image_size": 0, "jpeg": JPEG}, ConfigError, "image_size must be at least 1 pixel"),
    ],
)
def test_bad_arguments_are_named(tmp_path, arguments, error, message):
    given = {"samples": Steady()} | arguments
    with pytest.raises(error, match=message):
        write(path=tmp_path / "x.beton", **given)


def test_without_ffcv_the_error_says_how_to_install_it(monkeypatch):
    from t2t.data.ffcv_import import import_ffcv

    for name in [name for name in sys.modules if name.split(".")[0] == "ffcv"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "ffcv", None)
    monkeypatch.delitem(sys.modules, "ffcv")
    monkeypatch.setattr(sys, "path", [p for p in sys.path if "site-packages" not in p])
    with pytest.raises(EnvironmentProblem, match="pip install ffcv==1.0.2"):
        import_ffcv()
