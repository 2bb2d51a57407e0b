"""`scales.<scale>.data` by source, and where the stages look for raw data."""

import json
import types
from pathlib import Path

import pytest

from pipelines.check import check_params
from pipelines.params.data import DataParams
from pipelines.params.reader import Params
from pipelines.raw_roots import raw_roots
from pipelines.stages import prepare, shard
from t2t.data.sources import source_names
from t2t.errors import ConfigError, EnvironmentProblem

TEXT = (Path(__file__).resolve().parents[2] / "params.yaml").read_text()
DIGITS = "{source: digits, split_seed: 0, val_fraction: 0.2}"
RIGHT = {
    DIGITS: {"source": "digits", "split_seed": 0, "val_fraction": 0.2, "quarter_turns": 0},
    "{source: digits, split_seed: 1, val_fraction: 0.2, quarter_turns: 3, train_per_class: 10}": {
        "source": "digits",
        "split_seed": 1,
        "val_fraction": 0.2,
        "quarter_turns": 3,
        "train_per_class": 10,
    },
    "{source: imagenette, size: 160px}": {
        "source": "imagenette",
        "size": "160px",
        "download": False,
    },
    "{source: imagenet}": {"source": "imagenet"},
    "{source: cifar10, download: true}": {"source": "cifar10", "download": True},
    "{source: cifar100}": {"source": "cifar100", "download": False},
    "{source: flowers102}": {"source": "flowers102", "download": False},
    "{source: imagefolder, path: a/b.tgz}": {"source": "imagefolder", "path": "a/b.tgz"},
    "{source: imagefolder, path: a, val_fraction: 0.1, split_seed: 3}": {
        "source": "imagefolder",
        "path": "a",
        "val_fraction": 0.1,
        "split_seed": 3,
    },
}
# A block, the key that is wrong in it, what is said of it.
WRONG = {
    "{source: imagenet2}": ("data.source", "did you mean imagenet? (known here: digits, "),
    "{source: [digits]}": ("data.source", "no such data set"),
    "{size: 160px}": ("data.source", "no such data set"),
    "{source: imagenette}": ("data.size", "missing"),
    "{source: imagenette, size: 128px}": ("data.size", "'160px', '320px' or 'full', got '128px'"),
    "{source: imagenette, sise: 160px}": ("data.sise", "unknown key of imagenette; did you mean"),
    "{source: imagenet, size: full}": ("data.size", "unknown key of imagenet (known here: source)"),
    "{source: cifar10, download: 1}": ("data.download", "valid boolean, got 1"),
    "{source: digits, split_seed: -1, val_fraction: 0.2}": ("data.split_seed", "got -1"),
    "{source: digits, split_seed: 0, val_fraction: 0.2, download: true}": (
        "data.download",
        "unknown key of digits",
    ),
    "{source: imagefolder, path: ''}": ("data.path", "at least 1 character"),
    "{source: imagefolder, path: a, val_fraction: 0.1}": ("data.split_seed", "val_fraction is"),
    "{source: imagefolder, path: a, split_seed: 0}": ("data.val_fraction", "split_seed is given"),
    "[digits]": ("data", "should be a mapping"),
}


@pytest.fixture
def written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("T2T_DATA_ROOT", raising=False)

    def write(block: str) -> Path:
        assert DIGITS in TEXT
        path = tmp_path / "params.yaml"
        path.write_text(TEXT.replace(DIGITS, block))
        return path

    return write


@pytest.mark.parametrize("block", RIGHT)
def test_each_source_has_its_keys(written, block):
    params = check_params(written(block))
    data = params.part("scales.digits.data", DataParams)
    assert data.model_dump(exclude_none=True) == RIGHT[block]


def test_every_source_of_the_library_has_a_block():
    assert {value["source"] for value in RIGHT.values()} == set(source_names())


@pytest.mark.parametrize("block", WRONG)
def test_a_mistake_names_its_key(written, block):
    key, said = WRONG[block]
    path = written(block)
    for read in (
        lambda: check_params(path),
        lambda: Params(path).part("scales.digits.data", DataParams),
    ):
        with pytest.raises(ConfigError) as caught:
            read()
        line = next(n for n, text in enumerate(path.read_text().splitlines(), 1) if block in text)
        assert str(caught.value).startswith(f"params.yaml:{line}: scales.digits.{key}: ")
        assert said in str(caught.value), caught.value


def test_stages_pass_on_what_the_block_says(written, tmp_path, monkeypatch, photos):
    """A read-only set outside the project: prepared, then opened for the shards."""
    written("{source: imagefolder, path: pets_small, val_fraction: 0.3, split_seed: 0}")
    monkeypatch.setenv("T2T_DATA_ROOT", str(photos))
    common = ["--scale", "digits", "--downloads", "downloads"]
    prepare.main([*common, "--out", "raw"])
    manifest = json.loads((tmp_path / "raw" / "manifest.json").read_text())
    assert (manifest["val_fraction"], manifest["path"]) == (0.3, "pets_small")
    written_shards = {}

    def write_shard(samples, path, /, **how):
        assert samples[0]
        written_shards[path.name] = how["split"], how["image_size"], how["crop_pct"]
        return types.SimpleNamespace(warnings=list)

    monkeypatch.setattr(shard, "write_shard", write_shard)
    shard.main([*common, "--raw", "raw", "--out", "shards"])
    assert written_shards == {
        "train.beton": ("train", 32, 1.0),
        "val.beton": ("val", 32, 1.0),
        "val_fine.beton": ("val", 48, 1.0),
    }


def test_the_environment_names_a_folder_that_comes_first(tmp_path, monkeypatch):
    monkeypatch.delenv("T2T_DATA_ROOT", raising=False)
    assert raw_roots(Path("d")).folders == (Path("d"),)
    monkeypatch.setenv("T2T_DATA_ROOT", str(tmp_path))
    assert raw_roots(Path("d")).folders == (tmp_path, Path("d"))
    monkeypatch.setenv("T2T_DATA_ROOT", str(tmp_path / "absent"))
    with pytest.raises(EnvironmentProblem, match="T2T_DATA_ROOT is '.*absent', which is no folder"):
        raw_roots(Path("d"))
