"""What every test needs: the reference figures and real images, where they are present."""

import os
from pathlib import Path

import pytest

pytest_plugins = ["tests.runs", "tests.mlflow_database", "tests.s3", "tests.faults.tally"]

ROOT = Path(__file__).resolve().parent.parent


def reference_dir() -> Path:
    """The folder holding `golden.json`; skips the calling test where it is absent."""
    folder = Path(os.environ.get("T2T_REFERENCE", ROOT.parent / "shared" / "reference"))
    if not (folder / "golden.json").is_file():
        pytest.skip(f"no reference figures: {folder}/golden.json is absent (set T2T_REFERENCE)")
    return folder


def photos_dir() -> Path:
    """The folder of real test images; skips the calling test where it is absent."""
    folder = Path(os.environ.get("T2T_TEST_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no test images: {folder} is absent (set T2T_TEST_DATA)")
    return folder


@pytest.fixture(scope="session")
def reference() -> Path:
    return reference_dir()


@pytest.fixture(scope="session")
def photos() -> Path:
    return photos_dir()
