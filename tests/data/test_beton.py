"""Refusing what is not a shard: a damaged file, a wrong header, a record that points elsewhere."""

import gc
import json
import os

import numpy as np
import pytest

from t2t.data.beton import ALLOCATION, HEADER, RECORD, RECORDS_AT, BetonFile
from t2t.data.shard_manifest import load_manifest, manifest_path
from t2t.data.verify import verify_shard
from t2t.errors import DataError
from t2t.files import SEAL, sealed

COUNTS = {"raw": 53, "jpg": 40}


def mutants(whole: bytes, count: int, seed: int):
    """The file with a bit flipped, 4 KiB zeroed, some bytes exchanged, or its end missing."""
    rng = np.random.default_rng(seed)
    for number in range(count):
        damaged, place = bytearray(whole), int(rng.integers(len(whole)))
        if number % 4 == 0:
            damaged[place] ^= 1 << int(rng.integers(8))
        elif number % 4 == 1:
            damaged[place : place + 4096] = bytes(len(damaged[place : place + 4096]))
        elif number % 4 == 2:
            length = len(damaged[place : place + 16])
            damaged[place : place + 16] = rng.bytes(length)
        else:
            del damaged[place:]
        if damaged != whole:
            yield bytes(damaged)


@pytest.mark.parametrize("kind", COUNTS)
def test_any_damage_is_found(copied, kind):
    path = copied(kind)
    whole = path.read_bytes()
    for damaged in mutants(whole, 60, seed=0):
        path.write_bytes(damaged)
        with pytest.raises(DataError, match="copy.beton: .*write the shard again"):
            verify_shard(path)
    path.write_bytes(whole[:-1])
    with pytest.raises(DataError, match="bytes, its manifest says"):
        verify_shard(path)
    path.unlink()
    with pytest.raises(DataError, match="missing, though its manifest is there"):
        verify_shard(path)


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
def test_a_wrong_header_is_told_apart(copied, field, value, message):
    path = copied()
    whole = bytearray(path.read_bytes())
    np.frombuffer(whole, HEADER, 1)[field] = value
    path.write_bytes(whole)
    with pytest.raises(DataError, match=message):
        BetonFile(path)


OUTSIDE, NOT_ITS_SIZE = "a sample lies outside the file's pages", "height and width are not those"
OTHER_TABLE = "allocation table is not that of its records"


@pytest.mark.parametrize(
    ("kind", "table", "field", "value", "message"),
    [
        ("raw", "record", "mode", 0, r"image modes \[0, 1\], expected one of"),
        ("jpg", "record", "mode", 7, r"image modes \[0, 7\]"),
        ("raw", "record", "address", 8, OTHER_TABLE),
        ("raw", "record", "width", 65535, NOT_ITS_SIZE),
        ("raw", "record", "height", 0, NOT_ITS_SIZE),
        ("jpg", "record", "height", 0, NOT_ITS_SIZE),
        ("raw", "allocation", "sample", 0, OTHER_TABLE),
        ("raw", "allocation", "address", 8, OUTSIDE),
        ("raw", "allocation", "address", (1 << 64) - 1, OUTSIDE),
        ("raw", "allocation", "bytes", 1, NOT_ITS_SIZE),
        ("jpg", "allocation", "bytes", 0, OUTSIDE),
        ("jpg", "allocation", "bytes", (1 << 64) - 1, OUTSIDE),
        ("jpg", "allocation", "bytes", 1 << 23, OUTSIDE),
    ],
)
def test_a_table_that_points_elsewhere_is_refused(copied, kind, table, field, value, message):
    """The last sample's entry is the wrong one."""
    path, count = copied(kind), COUNTS[kind]
    whole = bytearray(path.read_bytes())
    if table == "record":
        np.frombuffer(whole, RECORD, count, RECORDS_AT)["image"][field][-1] = value
    else:
        place = len(whole) - ALLOCATION.itemsize
        np.frombuffer(whole, ALLOCATION, 1, place)[field] = value
    path.write_bytes(whole)
    with pytest.raises(DataError, match=message):
        BetonFile(path)


def test_samples_do_not_overlap(copied):
    path = copied("jpg")
    whole = bytearray(path.read_bytes())
    place = len(whole) - 2 * ALLOCATION.itemsize
    entries = np.frombuffer(whole, ALLOCATION, 2, place)
    entries["bytes"][0] = entries["address"][1] - entries["address"][0] + 1
    path.write_bytes(whole)
    with pytest.raises(DataError, match="samples overlap, or one lies across two pages"):
        BetonFile(path)


@pytest.mark.parametrize("content", [b"", b"short", b"\0" * 5000])
def test_what_is_no_beton_is_refused(tmp_path, content):
    (tmp_path / "x.beton").write_bytes(content)
    with pytest.raises(DataError, match="x.beton: .*write the shard again"):
        BetonFile(tmp_path / "x.beton")


def test_a_file_cut_while_in_use_is_an_error(copied):
    path = copied()
    beton = BetonFile(path)
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)
    with pytest.raises(DataError, match="ends within the sample 52, it was cut while in use"):
        beton.stored(52)


def test_it_closes_its_file(noise_shard):
    before = os.listdir("/proc/self/fd")
    beton = BetonFile(noise_shard)
    assert len(os.listdir("/proc/self/fd")) == len(before) + 1
    del beton
    gc.collect()
    assert len(os.listdir("/proc/self/fd")) == len(before)


@pytest.mark.parametrize(
    ("kind", "change", "message"),
    [
        ("raw", {"format_version": 1}, "format_version 1, expected 3"),
        ("raw", {"sha256": "0" * 64}, "damaged, SHA-256"),
        ("raw", {"num_samples": 54}, "counts do not match"),
        (
            "raw",
            {"num_samples": 54, "counts": [27, 27]},
            "53 samples, its manifest says 54",
        ),
        ("raw", {"counts": [26, 27]}, r"\[27, 26\] samples by class, its manifest says \[26, 27\]"),
        ("raw", {"bytes": 10}, "its manifest says 10"),
        ("raw", {"bytes": "10"}, "bytes is '10', expected int"),
        ("raw", {"image_size": True}, "image_size is True, expected int"),
        ("raw", {"image_size": 39}, "images with sides of 40 to 40 px, its manifest says 39"),
        ("raw", {"classes": ["a", 2]}, "classes is"),
        ("raw", {"surplus": 1}, "missing or unknown keys: surplus"),
        ("raw", {"quality": 90}, "write_mode 'raw' does not match crop_pct and quality"),
        ("raw", {"crop_pct": None}, "write_mode 'raw' does not match"),
        ("jpg", {"write_mode": "smart"}, "write_mode 'smart' does not match"),
        ("jpg", {"max_side_px": 79}, r"sides of \d+ to 80 px, its manifest says 79"),
        ("jpg", {"max_side_px": "80"}, "max_side_px is '80', expected int | None"),
        (
            "jpg",
            {"write_mode": "raw", "crop_pct": 1.0, "quality": None},
            "jpg as its write mode, its manifest says raw",
        ),
    ],
)
def test_a_wrong_manifest_is_told_apart(copied, kind, change, message):
    path = copied(kind)
    manifest = json.loads(manifest_path(path).read_text())
    del manifest[SEAL]
    manifest_path(path).write_text(json.dumps(sealed(manifest | change)))
    with pytest.raises(DataError, match=message):
        verify_shard(path)


@pytest.mark.parametrize("change", [{"channel_mean": [0.5, 0.5, 0.5]}, {"classes": ["b", "a"]}])
def test_a_manifest_changed_by_hand_is_refused(copied, change):
    path = copied()
    manifest = json.loads(manifest_path(path).read_text())
    manifest_path(path).write_text(json.dumps(manifest | change))
    with pytest.raises(DataError, match="copy.beton.json: changed since it was written"):
        verify_shard(path)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "\xff"])
def test_an_unreadable_manifest_is_named(copied, text):
    path = copied()
    manifest_path(path).write_bytes(text.encode("latin-1"))
    with pytest.raises(DataError, match="copy.beton.json: "):
        load_manifest(path)
    manifest_path(path).unlink()
    with pytest.raises(DataError, match="copy.beton.json: missing"):
        load_manifest(path)
