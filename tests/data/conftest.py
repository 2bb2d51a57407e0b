"""Small shards that many tests read; none of them writes to these."""

import os
import shutil
from pathlib import Path

import pytest

from t2t.data.shard_manifest import manifest_path
from t2t.data.shards import write_shard
from t2t.data.sources import open_prepared, prepare
from t2t.data.stored_forms import JpegForm
from tests.data.faulty import Steady
from tests.data.photographs import Files, write_photographs


@pytest.fixture(scope="session")
def prepared(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("prepared") / "digits"
    prepare("digits", folder, split_seed=3, val_fraction=0.2)
    return folder


@pytest.fixture(scope="session")
def digits_shard(prepared, tmp_path_factory) -> Path:
    source = open_prepared(prepared)
    path = tmp_path_factory.mktemp("digits") / "val.beton"
    write_shard(
        source.split("val"),
        path,
        split="val",
        classes=source.classes,
        image_size=32,
        source_fingerprint=source.fingerprint,
        workers=1,
    )
    return path


@pytest.fixture(scope="session")
def noise_shard(tmp_path_factory) -> Path:
    """53 images of noise, 40 x 40."""
    path = tmp_path_factory.mktemp("noise") / "train.beton"
    write_shard(
        Steady(53, 40),
        path,
        split="train",
        classes=("a", "b"),
        image_size=40,
        source_fingerprint="0" * 64,
        workers=1,
    )
    return path


@pytest.fixture(scope="session")
def photographs(tmp_path_factory) -> Files:
    """40 photographs of up to 100 px a side: JPEG of all kinds, a PNG under a wrong name."""
    return write_photographs(tmp_path_factory.mktemp("photographs") / "files")


@pytest.fixture(scope="session")
def jpeg_shard(photographs, tmp_path_factory) -> Path:
    """The photographs as JPEG files of at most 80 px a side, to be rendered to 48."""
    path = tmp_path_factory.mktemp("jpeg") / "train.beton"
    write_shard(
        photographs,
        path,
        split="train",
        classes=("a", "b"),
        image_size=48,
        source_fingerprint="0" * 64,
        jpeg=JpegForm(max_side_px=80, quality=90),
        workers=1,
    )
    return path


@pytest.fixture
def copied(noise_shard, jpeg_shard, tmp_path):
    """Copies a shard, "raw" or "jpg", that the test may damage, and returns its path."""

    def copy(kind: str = "raw") -> Path:
        shard, path = {"raw": noise_shard, "jpg": jpeg_shard}[kind], tmp_path / "copy.beton"
        shutil.copy(shard, path)
        shutil.copy(manifest_path(shard), manifest_path(path))
        return path

    return copy


@pytest.fixture
def shm_kept_clean():
    before = set(os.listdir("/dev/shm"))
    yield
    assert set(os.listdir("/dev/shm")) <= before
