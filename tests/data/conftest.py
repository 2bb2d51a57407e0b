"""Small shards that many tests read; none of them writes to these."""

import os
from pathlib import Path

import pytest

from t2t.data.shards import write_shard
from t2t.data.sources import open_prepared, prepare
from tests.data.faulty import Steady


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
    )
    return path


@pytest.fixture
def shm_kept_clean():
    before = set(os.listdir("/dev/shm"))
    yield
    assert set(os.listdir("/dev/shm")) <= before
