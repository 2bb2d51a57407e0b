"""What would give a wrong number and no error: each is found and said."""

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipelines.check import check_params, twin_rows
from pipelines.freshness import check_freshness
from t2t.data.shard_manifest import load_manifest, manifest_path
from t2t.data.shards import write_shard
from t2t.data.twins import KnownImages
from t2t.errors import CheckpointError, ConfigError, DataError
from t2t.evaluation.row import evaluate_row
from t2t.files import SEAL, sealed, write_json
from t2t.training.checkpoint import newest_checkpoint, save_checkpoint
from t2t.training.config import Parent
from t2t.training.finished import finished_runs
from t2t.training.run import train_run
from t2t.training.workspace import workspace_of
from tests.data.faulty import Mislabelled, Steady
from tests.reporting.synthetic import NOT_RUN, table_7, write_metrics, write_results
from tests.runs import changed, short_config

pytestmark = [pytest.mark.slow, pytest.mark.faults("silent wrongness")]
PARAMS = (Path(__file__).resolve().parents[2] / "params.yaml").read_text()
GIVEN = {"split": "train", "classes": ("a", "b"), "image_size": 16, "workers": 1}
GIVEN |= {"source_fingerprint": "0" * 64}


@pytest.fixture
def own_shards(shards, tmp_path):
    """The session's shards, copied."""
    folder = tmp_path / "shards"
    folder.mkdir()
    for path in shards.glob("*.beton*"):
        shutil.copy(path, folder)
    return folder


def rewritten(shard: Path, **changes) -> None:
    """The manifest with other values, sealed as if they had been written so."""
    content = json.loads(manifest_path(shard).read_text()) | changes
    del content[SEAL]
    write_json(manifest_path(shard), sealed(content))


def start(config, shards, tmp_path):
    train_run(config, shards, tmp_path / "work", tmp_path / "out", {})


def test_orders_of_classes_that_differ(config, own_shards, tmp_path):
    classes = list(load_manifest(own_shards / "val.beton").classes)
    classes[2], classes[3] = classes[3], classes[2]
    rewritten(own_shards / "val.beton", classes=classes)
    with pytest.raises(DataError, match=r"val\.beton: classes differ \(label 2 is '2' and '3'\)"):
        start(config, own_shards, tmp_path)


def test_numbers_of_classes_that_differ(config, own_shards, tmp_path):
    val = load_manifest(own_shards / "val.beton")
    rewritten(own_shards / "val.beton", classes=[*val.classes, "ten"], counts=[*val.counts, 0])
    with pytest.raises(DataError, match=r"val\.beton: classes differ \(10 and 11\)"):
        start(config, own_shards, tmp_path)


def test_a_shard_of_an_older_data_set_beside_a_new_one(config, own_shards, tmp_path):
    rewritten(own_shards / "train.beton", source_fingerprint="0" * 64)
    with pytest.raises(DataError, match="source_fingerprint differ .*not of one data set"):
        start(config, own_shards, tmp_path)


def test_training_on_the_validation_shard(config, own_shards, tmp_path):
    for end in ("", ".json"):
        shutil.copy(own_shards / f"val.beton{end}", own_shards / f"train.beton{end}")
    with pytest.raises(DataError, match=r"train\.beton: holds the split 'val', expected 'train'"):
        start(config, own_shards, tmp_path)


def test_labels_out_of_range(tmp_path):
    with pytest.raises(DataError, match=r"image 2: label 7 is not in 0\.\.1"):
        write_shard(Mislabelled(6), tmp_path / "train.beton", **GIVEN)
    assert not list(tmp_path.iterdir())


def test_an_empty_class(tmp_path):
    with pytest.raises(DataError, match="split 'train' has no image of class c"):
        write_shard(Steady(6), tmp_path / "x.beton", **GIVEN | {"classes": ("a", "b", "c")})


@dataclasses.dataclass
class Shown(Steady):
    """Images by number: equal numbers, equal images."""

    numbers: tuple[int, ...] = ()

    def __getitem__(self, index):
        return super().__getitem__(self.numbers[index])[0], index % 2


def test_validation_images_in_the_training_set_and_duplicates(tmp_path, capsys):
    known: KnownImages = {}
    for split, numbers in (("train", (0, 1, 2, 1, 4, 1)), ("val", (9, 4, 8, 0))):
        samples = Shown(len(numbers), numbers=numbers)
        path = tmp_path / f"{split}.beton"
        write_shard(samples, path, **GIVEN | {"split": split}, known=known)
    train, val = (load_manifest(tmp_path / f"{split}.beton") for split in ("train", "val"))
    assert (train.num_duplicates, train.num_leaked) == (2, 0)
    assert train.duplicates == ("image 3 is image 1", "image 5 is image 1")
    assert (val.num_duplicates, val.num_leaked) == (0, 2)
    assert val.leaked == ("image 1 is image 4 of train", "image 3 is image 0 of train")
    assert val.warnings() == [
        "val: 2 of 4 images are in another split too (image 1 is image 4 of train; image 3 is "
        "image 0 of train)"
    ]


def test_a_twin_is_found_through_its_form_and_file_format(tmp_path):
    """A JPEG shard and a raw one, a turned file and an upright one."""
    image, _ = Steady(1, 40)[0]
    turned = Image.Exif()
    turned[0x0112] = 3
    image.save(tmp_path / "a.png")
    image.rotate(180).save(tmp_path / "b.png", exif=turned)
    from t2t.data.stored_forms import JpegForm, RawForm

    forms = [RawForm(16, 1.0), RawForm(32, 0.9), JpegForm(None, 90), JpegForm(20, 50)]
    shown = set()
    for form in forms:
        for name in "ab":
            with Image.open(tmp_path / f"{name}.png") as file:
                shown.add(form.stored(file).shown)
    assert len(shown) == 1
    other = Image.fromarray(np.asarray(image) ^ np.uint8(1))
    assert forms[0].stored(other).shown not in shown


def test_a_stale_shard_beside_new_raw_data(tmp_path, shards):
    folder = tmp_path / "data" / "shards" / "tiny"
    folder.mkdir(parents=True)
    shutil.copy(shards / "train.beton.json", folder)
    raw = tmp_path / "data" / "raw" / "tiny" / "manifest.json"
    raw.parent.mkdir(parents=True)
    shutil.copy(shards / "raw" / "manifest.json", raw)
    arguments = ["--row", "x", "--shards", "data/shards/tiny"]
    check_freshness(arguments, tmp_path)
    raw.write_text(json.dumps({"fingerprint": "new"}))
    with pytest.raises(DataError, match=r"train\.beton: written from other raw .*dvc repro shard"):
        check_freshness(arguments, tmp_path)


@pytest.fixture(scope="module")
def runs(shards, tmp_path_factory):
    """Two seeds of a row, and one run of another."""
    folder = tmp_path_factory.mktemp("runs")
    short = changed(short_config(), epochs=1, cooldown_epochs=0, warmup_epochs=0)
    other = dataclasses.replace(changed(short, lr=1e-3), row="vit_small")
    for config, name in (
        (short, "row/seed_0"),
        (dataclasses.replace(short, seed=1), "row/seed_1"),
        (other, "other/seed_0"),
    ):
        train_run(config, shards, folder / "work", folder / name, {})
    return folder


@pytest.fixture
def own_runs(runs, tmp_path):
    shutil.copytree(runs, tmp_path / "runs")
    return tmp_path / "runs"


def test_sound_runs_are_one_rows(runs):
    assert [run.config["seed"] for run in finished_runs(runs / "row")] == [0, 1]


def test_a_run_of_another_row(own_runs, shards):
    shutil.rmtree(own_runs / "row" / "seed_0")
    shutil.copytree(own_runs / "other" / "seed_0", own_runs / "row" / "seed_0")
    with pytest.raises(DataError, match="seed_1 and seed_0: recipe, row differ"):
        evaluate_row(own_runs / "row", shards)


def test_a_run_of_another_seed(own_runs, shards):
    shutil.rmtree(own_runs / "row" / "seed_0")
    shutil.copytree(own_runs / "row" / "seed_1", own_runs / "row" / "seed_0")
    with pytest.raises(DataError, match="seed_0: holds the run of seed 1"):
        evaluate_row(own_runs / "row", shards)


@pytest.mark.parametrize("name", ["ema.safetensors", "raw.safetensors", "config.json"])
def test_weights_or_configuration_of_another_run(own_runs, shards, name):
    """The same shapes, so that they would load."""
    shutil.copy(own_runs / "other" / "seed_0" / name, own_runs / "row" / "seed_0")
    with pytest.raises(CheckpointError, match=rf"seed_0/{name}: damaged, it is not what .*seal"):
        evaluate_row(own_runs / "row", shards)


def test_a_parent_with_other_weights(own_runs, shards, config, tmp_path):
    parent = own_runs / "row" / "seed_0"
    shutil.copy(own_runs / "other" / "seed_0" / "ema.safetensors", parent)
    child = dataclasses.replace(config, parent=Parent(parent, "weights"))
    with pytest.raises(CheckpointError, match="ema.safetensors: damaged"):
        start(child, shards, tmp_path)


def test_a_checkpoint_of_another_configuration(config, shards, tmp_path, monkeypatch):
    """Put where it does not belong: its own digest tells."""
    from t2t.training import loop

    def stopped(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(loop, "train_step", stopped)
        with pytest.raises(KeyboardInterrupt):
            start(config, shards, tmp_path)
    (folder,) = {path.parent for path in (tmp_path / "work").glob("*/run.json")}
    assert newest_checkpoint(folder) is None
    assert folder == workspace_of(tmp_path / "work", folder.name)
    save_checkpoint(folder, 3, {"digest": "another", "state": {}})
    with pytest.raises(CheckpointError, match="the checkpoint is another run's"):
        start(config, shards, tmp_path)


@pytest.fixture
def results(tmp_path):
    return write_results(tmp_path / "results", table_7())


ROW = next(row for row in table_7() if row != NOT_RUN)


def test_metrics_of_an_older_run(results):
    """Whoever trains again and does not evaluate leaves new curves beside old metrics."""
    path = results.curves_dir / f"{ROW}.csv"
    path.write_text(path.read_text().replace("0.001", "0.002"))
    with pytest.raises(DataError, match=rf"curves/{ROW}\.csv: not the file that .* older run's"):
        results.collect()


def test_an_evaluation_of_an_older_run(results):
    path = results.evaluations_dir / f"{ROW}.csv"
    lines = path.read_text().splitlines()
    lines[1] = lines[1].rpartition(",")[0] + ",00ff"
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(DataError, match=rf"evaluations/{ROW}\.csv: not the file that"):
        results.collect()


def test_a_figure_changed_by_hand(results):
    path = results.metrics_dir / f"{ROW}.json"
    metrics = json.loads(path.read_text())
    path.write_text(json.dumps(metrics | {"params_m": metrics["params_m"] / 2 + 0.03}))
    with pytest.raises(DataError, match=rf"{ROW}\.json: (params|content_sha256)"):
        results.collect()
    write_metrics(results, ROW, metrics)
    results.collect()


TWIN = """  vit_small_again:
    title: Another title
    model: {backbone: vit, variant: vit_small}
    train: {seeds: 2}
    baseline: t2t_vit_14
    paper: null
"""


def with_row(text: str) -> str:
    start, end = PARAMS.split("\n# Rows that start from", 1)
    return f"{start}\n{text}\n# Rows that start from{end}"


def test_two_rows_that_are_one_training(tmp_path):
    path = tmp_path / "params.yaml"
    path.write_text(with_row(TWIN))
    with pytest.raises(ConfigError, match="rows.vit_small_again: is trained as vit_small is, at"):
        check_params(path)


# Other ways to write what vit_small says without them.
SAME = {
    "a whole number for a broken one": ("train: {seeds: 2}", "train: {lr_factor: 1}"),
    "a default": ("vit_small}", "vit_small, overrides: {mlp_ratio: 3.0}}"),
    "a default as a whole number": (
        "vit_small}",
        "vit_small, overrides: {mlp_ratio: 3, depth: 8}}",
    ),
    "the recipe's frozen parts": ("train: {seeds: 2}", "train: {frozen: []}"),
}


@pytest.mark.parametrize("way", SAME)
def test_two_rows_that_are_one_training_in_other_words(tmp_path, way):
    said, other = SAME[way]
    assert said in TWIN
    path = tmp_path / "params.yaml"
    path.write_text(with_row(TWIN.replace(said, other)))
    with pytest.raises(ConfigError, match="rows.vit_small_again: is trained as vit_small is, at"):
        check_params(path)


@pytest.mark.parametrize(
    "overrides", ["{depth: 7}", "{mlp_ratio: 3.5}", "{drop_path_rate: 0.3}", "{qkv_bias: true}"]
)
def test_rows_that_differ_in_one_option_are_no_twins(tmp_path, overrides):
    path = tmp_path / "params.yaml"
    path.write_text(with_row(TWIN.replace("vit_small}", f"vit_small, overrides: {overrides}}}")))
    check_params(path)


def test_options_in_another_order_are_one_training(tmp_path):
    first = TWIN.replace("vit_small}", "vit_small, overrides: {depth: 7, mlp_ratio: 2.0}}")
    again = TWIN.replace("vit_small}", "vit_small, overrides: {mlp_ratio: 2, depth: 7}}")
    path = tmp_path / "params.yaml"
    path.write_text(with_row(first + again.replace("vit_small_again", "vit_small_third")))
    with pytest.raises(ConfigError, match="vit_small_third: is trained as vit_small_again is"):
        check_params(path)


def with_transfer(**changed: str) -> str:
    """The project's file with one more transfer, that of T2T-ViT-14 to CIFAR-10 but for these."""
    says = {"needs": "t2t_vit_14", "set": "cifar10", "recipe": "paper", "start": "trained"}
    says |= {"title": "Again", "model": "{backbone: t2t_vit, variant: t2t_vit_14}"}
    says |= {"train": "{seeds: 1}", "paper": "null"} | changed
    lines = "".join(f"    {key}: {value}\n" for key, value in says.items())
    return PARAMS.replace("\ntransfers:\n", f"\ntransfers:\n  again:\n{lines}")


def test_two_transfers_that_are_one_training(tmp_path):
    path = tmp_path / "params.yaml"
    path.write_text(with_transfer())
    message = "transfers.cifar10_t2t_vit_14: is trained as again is, at every scale"
    with pytest.raises(ConfigError, match=message):
        check_params(path)
    path.write_text(with_transfer(train="{momentum: 0.5}"))
    check_params(path)


def test_two_rows_that_are_one_training_at_one_scale(tmp_path):
    """Elsewhere they differ, so it is said and not refused."""
    path = tmp_path / "params.yaml"
    path.write_text(with_row(TWIN.replace("{seeds: 2}", "{lr: 2.0e-3}")))
    params = check_params(path)
    assert twin_rows(params, "digits") == [("vit_small", "vit_small_again")]
    assert twin_rows(params, "imagenet") == []
