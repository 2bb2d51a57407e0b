"""Writing a shard, and refusing what is not one."""

import dataclasses
import json
import shutil
import sys

import numpy as np
import pytest
from PIL import Image, UnidentifiedImageError

from t2t.data.beton import ALLOCATION, DESCRIPTOR, HEADER, RECORD, BetonFile
from t2t.data.images import stored_pixels
from t2t.data.shard_manifest import load_manifest, manifest_path
from t2t.data.shards import write_shard
from t2t.data.sources import open_prepared
from t2t.data.verify import verify_shard
from t2t.errors import ConfigError, DataError, EnvironmentProblem
from t2t.files import sha256_file
from tests.data.faulty import FailsInChild, Steady


def write(samples, path, **arguments):
    given = {
        "split": "train",
        "classes": ("a", "b"),
        "image_size": 16,
        "source_fingerprint": "0" * 64,
    }
    return write_shard(samples, path, **given | arguments)


def test_round_trip(prepared, digits_shard):
    samples = open_prepared(prepared).split("val")
    beton = BetonFile(digits_shard)
    expected = np.stack([stored_pixels(samples[i][0], 32, 1.0) for i in range(len(samples))])
    assert (np.stack([beton.pixels(i) for i in range(beton.num_samples)]) == expected).all()
    assert (beton.labels == samples.labels).all()

    manifest = verify_shard(digits_shard)
    assert manifest.num_samples == 360 and manifest.split == "val"
    assert manifest.counts == tuple(np.bincount(samples.labels).tolist())
    assert manifest.source_fingerprint == open_prepared(prepared).fingerprint
    assert manifest.sha256 == sha256_file(digits_shard)
    np.testing.assert_allclose(manifest.channel_mean, expected.mean((0, 1, 2)) / 255, rtol=1e-12)
    np.testing.assert_allclose(manifest.channel_std, expected.std((0, 1, 2)) / 255, rtol=1e-12)


def test_equal_samples_give_equal_bytes_and_a_killed_runs_rest_is_swept(noise_shard, tmp_path):
    (tmp_path / ".other.beton.partial").write_bytes(b"left behind")
    again = tmp_path / "other.beton"
    write(Steady(53, 40), again, image_size=40)
    assert again.read_bytes() == noise_shard.read_bytes()
    assert manifest_path(again).read_bytes() == manifest_path(noise_shard).read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["other.beton", "other.beton.json"]


def test_the_layout_is_ffcvs(noise_shard):
    from t2t.data.ffcv_import import import_ffcv

    import_ffcv()
    from ffcv import types
    from ffcv.reader import Reader

    theirs = Reader(str(noise_shard))
    assert types.HeaderType.itemsize == HEADER.itemsize
    assert types.FieldDescType.itemsize == DESCRIPTOR.itemsize
    assert types.ALLOC_TABLE_TYPE.itemsize == ALLOCATION.itemsize
    assert theirs.metadata_type.itemsize == RECORD.itemsize
    ours = BetonFile(noise_shard)
    assert theirs.metadata["f0"]["data_ptr"].tolist() == ours.records["image"]["address"].tolist()
    assert theirs.metadata["f1"].tolist() == ours.labels.tolist()
    assert len(theirs.alloc_table) == ours.num_samples == 53


def test_more_pages_than_one(tmp_path):
    samples = Steady(30, 200)
    write(samples, tmp_path / "big.beton", image_size=200)
    beton = BetonFile(tmp_path / "big.beton")
    assert (tmp_path / "big.beton").stat().st_size > 2 * int(beton.header["page_size"])
    for index in range(30):
        assert (beton.pixels(index) == np.asarray(samples[index][0])).all()


@pytest.mark.parametrize(
    ("how", "stall_timeout_s", "message"),
    [
        ("killed", 60.0, r"died after sample \d+ \(exit code -9"),
        ("sleeps", 4.0, "no progress for 4 s"),
        ("differs", 60.0, "reading back gave other pixels"),
    ],
)
def test_a_failing_writer_leaves_nothing(tmp_path, shm_kept_clean, how, stall_timeout_s, message):
    with pytest.raises(DataError, match=message):
        write(FailsInChild(how=how), tmp_path / "x.beton", stall_timeout_s=stall_timeout_s)
    assert list(tmp_path.iterdir()) == []


def test_a_failing_writer_keeps_the_shard_before(copy, noise_shard):
    with pytest.raises(DataError, match=r"failed after sample \d+: OSError: the disk is gone"):
        write(FailsInChild(how="raises"), copy)
    assert verify_shard(copy) == verify_shard(noise_shard)
    assert len(list(copy.parent.iterdir())) == 2


class Files:
    """Images read from files, as a folder source would."""

    def __init__(self, paths, labels):
        self.paths, self.labels = paths, labels

    def __len__(self):
        return len(self.paths)

    def __getitem__(self, index):
        return Image.open(self.paths[index]), self.labels[index]


def test_bad_images_are_refused_by_index_and_path(tmp_path):
    good = tmp_path / "good.jpg"
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(good)
    cut = tmp_path / "cut.jpg"
    cut.write_bytes(good.read_bytes()[:2000])
    (tmp_path / "empty.jpg").write_bytes(b"")
    (tmp_path / "page.jpg").write_text("<html>not found</html>")
    Image.new("F", (8, 8)).save(tmp_path / "float.tiff")
    names = ["good.jpg", "cut.jpg", "empty.jpg", "good.jpg", "page.jpg", "float.tiff"]
    samples = Files([tmp_path / name for name in names], [0, 1, 0, 7, 1, 1])
    out = tmp_path / "out"
    with pytest.raises(DataError) as caught:
        write(samples, out / "x.beton")
    text = str(caught.value)
    assert text.startswith("split 'train': 5 bad of 6: ")
    for index, word in ((1, "cut.jpg"), (2, "empty.jpg"), (3, "label 7 is not in 0..1")):
        assert f"image {index}" in text and word in text
    assert "page.jpg" in text and "float.tiff" in text and "image 0" not in text
    assert not out.exists()


@dataclasses.dataclass
class AllBad(Steady):
    def __getitem__(self, index):
        raise UnidentifiedImageError(f"cannot identify {index}")


def test_a_long_list_of_bad_images_is_cut(tmp_path):
    with pytest.raises(DataError, match="40 bad of 40: image 0: .* image 9: [^;]* and 30 more$"):
        write(AllBad(), tmp_path / "x.beton")


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"samples": Steady(0)}, DataError, "has no images"),
        ({"classes": ("a", "b", "c")}, DataError, "no image of class c"),
        ({"image_size": 0}, ConfigError, r"1\.\.836 pixels, not 0"),
        ({"image_size": 837}, ConfigError, "not 837"),
        ({"crop_pct": 0.0}, ConfigError, "crop_pct"),
        ({"write_mode": "jpg"}, ConfigError, "write_mode must be 'raw', not 'jpg'"),
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


@pytest.fixture
def copy(noise_shard, tmp_path):
    """A shard that a test may damage."""
    path = tmp_path / "copy.beton"
    shutil.copy(noise_shard, path)
    shutil.copy(manifest_path(noise_shard), manifest_path(path))
    return path


def test_any_damage_is_found(copy):
    whole = copy.read_bytes()
    for offset in np.random.default_rng(0).integers(0, len(whole), 40).tolist():
        damaged = bytearray(whole)
        damaged[offset] ^= 1 << (offset % 8)
        copy.write_bytes(damaged)
        with pytest.raises(DataError, match="copy.beton: .*write the shard again"):
            verify_shard(copy)
    copy.write_bytes(whole[:-1])
    with pytest.raises(DataError, match="bytes, its manifest says"):
        verify_shard(copy)
    copy.unlink()
    with pytest.raises(DataError, match="missing, though its manifest is there"):
        verify_shard(copy)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("version", 3, "format version 3, expected FFCV's 2"),
        ("num_fields", 1, "1 fields, expected"),
        ("page_size", 3 << 20, "page size 3145728"),
        ("num_samples", 52, "bytes, its header asks for"),
        ("num_samples", 1 << 60, "ends within the sample records"),
        ("alloc_table_ptr", 0, "writer did not finish"),
        ("alloc_table_ptr", 1 << 63, "bytes, its header asks for"),
    ],
)
def test_a_wrong_header_is_told_apart(copy, field, value, message):
    whole = bytearray(copy.read_bytes())
    np.frombuffer(whole, HEADER, 1)[field] = value
    copy.write_bytes(whole)
    with pytest.raises(DataError, match=message):
        BetonFile(copy)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("mode", 0, "not stored raw"),
        ("address", 8, "outside the file's pages"),
        ("address", (1 << 64) - 1, "outside the file's pages"),
        ("width", 65535, "outside the file's pages"),
        ("height", 0, "outside the file's pages"),
    ],
)
def test_a_record_that_points_outside_is_refused(copy, field, value, message):
    whole = bytearray(copy.read_bytes())
    offset = HEADER.itemsize + 2 * DESCRIPTOR.itemsize
    np.frombuffer(whole, RECORD, 53, offset)["image"][field][52] = value
    if field == "width":
        np.frombuffer(whole, RECORD, 53, offset)["image"]["height"][52] = 65535
    copy.write_bytes(whole)
    with pytest.raises(DataError, match=message):
        BetonFile(copy)


@pytest.mark.parametrize("content", [b"", b"short", b"\0" * 5000])
def test_what_is_no_beton_is_refused(tmp_path, content):
    (tmp_path / "x.beton").write_bytes(content)
    with pytest.raises(DataError, match="x.beton: .*write the shard again"):
        BetonFile(tmp_path / "x.beton")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format_version": 2}, "format_version 2, expected 1"),
        ({"sha256": "0" * 64}, "damaged, SHA-256"),
        ({"num_samples": 54}, "counts do not match"),
        ({"num_samples": 54, "counts": [27, 27]}, "53 samples, its manifest says 54"),
        ({"bytes": 10}, "its manifest says 10"),
        ({"bytes": "10"}, "bytes is '10', expected int"),
        ({"image_size": True}, "image_size is True, expected int"),
        ({"classes": ["a", 2]}, "classes is"),
        ({"surplus": 1}, "missing or unknown keys: surplus"),
    ],
)
def test_a_wrong_manifest_is_told_apart(copy, change, message):
    manifest = json.loads(manifest_path(copy).read_text())
    manifest_path(copy).write_text(json.dumps(manifest | change))
    with pytest.raises(DataError, match=message):
        verify_shard(copy)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "\xff"])
def test_an_unreadable_manifest_is_named(copy, text):
    manifest_path(copy).write_bytes(text.encode("latin-1"))
    with pytest.raises(DataError, match="copy.beton.json: "):
        load_manifest(copy)
    manifest_path(copy).unlink()
    with pytest.raises(DataError, match="copy.beton.json: missing"):
        load_manifest(copy)
