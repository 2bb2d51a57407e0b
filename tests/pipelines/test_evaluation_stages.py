"""The stages around evaluation: further sets, and the list of networks and baselines."""

import functools
import json

import pytest

from pipelines.environment import ROOT
from pipelines.params.reader import Params
from pipelines.stages import catalogue, extra
from t2t.data.shard_manifest import load_manifest
from t2t.data.shards import write_shard
from t2t.data.sources import open_prepared
from t2t.data.sources.fetch import Remote
from t2t.evaluation.extra_sets import open_extra_sets
from t2t.models import create
from tests.data.test_sources_extra import FOLDER, IMAGES_OF_A_CLASS, picture
from tests.released import with_released_rows
from tests.runs import FirstImages

TEXT = with_released_rows((ROOT / "params.yaml").read_text())


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_text(TEXT)
    return tmp_path


def run_catalogue(scale):
    places = ["--networks", "a/n.json", "--baselines", "b/b.json"]
    asked = ["--transfers", "t/asked.json", "--analyses", "l/asked.json"]
    catalogue.main(["--scale", scale, *places, *asked])


def test_the_catalogue_lists_every_row_and_makes_its_network(project):
    run_catalogue("digits")
    networks = json.loads((project / "a" / "n.json").read_text())
    baselines = json.loads((project / "b" / "b.json").read_text())
    tree = Params(project / "params.yaml").tree
    assert networks.keys() == {key for key in baselines if "/" not in key}
    assert networks.keys() == {*tree["rows"], *tree["derived"], *tree["released"]}
    assert baselines["t2t_vit_14"] == "t2t_vit_14_wo_t2t"
    assert baselines["t2t_vit_14_384_released"] == "t2t_vit_14_384"
    # Of a claim; and none of one that sets a row against its baseline.
    assert baselines["t2t_vit_14/vit_small"] == "vit_small"
    assert "t2t_vit_14/t2t_vit_14_wo_t2t" not in baselines
    for kind, folder in (("transfers", "t"), ("analyses", "l")):
        asked = json.loads((project / folder / "asked.json").read_text())
        assert asked == sorted(tree[kind])
    for name in ("t2t_vit_14_384", "t2t_vit_14_384_released"):
        arguments = networks[name]
        assert arguments.pop("phase") == "fine"
        assert arguments.pop("overrides") == {"drop_path_rate": 0.05}
        create(arguments.pop("variant"), image_size=48, num_classes=10, **arguments)


def test_what_no_network_knows_changes_no_catalogue(project):
    run_catalogue("digits")
    before = {path: path.read_bytes() for path in project.rglob("*.json")}
    changed = TEXT.replace("title: T2T-ViT-14\n", "title: X\n").replace("81.5,", "81.6,")
    (project / "params.yaml").write_text(changed.replace("epochs: 17", "epochs: 18"))
    run_catalogue("digits")
    assert {path: path.read_bytes() for path in before} == before


@pytest.fixture
def val_shards(shards, project):
    """The validation shard, and one of 48 pixels."""
    folder = project / "shards"
    folder.mkdir()
    for name in ("val.beton", "val.beton.json"):
        (folder / name).symlink_to(shards / name)
    source = open_prepared(shards / "raw")
    write_shard(
        FirstImages(source.split("val"), 60),
        folder / "val_fine.beton",
        split="val",
        classes=source.classes,
        source_fingerprint=source.fingerprint,
        image_size=48,
    )
    return folder


def run_extra(scale):
    arguments = ["--shards", "shards", "--downloads", "downloads", "--out", "out"]
    extra.main(["--scale", scale, *arguments])


def test_a_scale_without_further_sets_lists_none(val_shards, project):
    run_extra("digits")
    assert [path.name for path in (project / "out").iterdir()] == ["sets.json"]
    assert open_extra_sets(project / "out" / "sets.json", "val.beton", ()).images == {}


def test_both_sets_are_there_at_both_sizes(val_shards, project, monkeypatch):
    for stage_name in ("load_real", "load_v2"):
        load = functools.partial(getattr(extra, stage_name), remote=Remote("http://127.0.0.1:9/x"))
        monkeypatch.setattr(extra, stage_name, load)
    labels = [[index % 10] for index in range(60)]
    files = {"imagenet/real.json": json.dumps(labels).encode()}
    for label in range(10):
        for number in range(IMAGES_OF_A_CLASS):
            files[f"{FOLDER}/{label}/{number}.png"] = picture(label, number)
    for name, content in files.items():
        path = project / "downloads" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    run_extra("imagenet")
    classes = load_manifest(val_shards / "val.beton").classes
    for name, size in (("val.beton", 32), ("val_fine.beton", 48)):
        sets = open_extra_sets(project / "out" / "sets.json", name, classes)
        assert sets.labels == {"real": labels}
        v2 = sets.images["v2"]
        assert (v2.image_size, v2.num_samples, v2.classes) == (size, 100, classes)
        (batch,) = v2.epoch(0)
        assert batch.labels.tolist() == [index // 10 for index in range(100)]
        assert batch.images[:, 0].amax((1, 2)).tolist() == [20 * (n // 10) for n in range(100)]
