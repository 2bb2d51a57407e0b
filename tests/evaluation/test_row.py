"""A row is scored on the validation images of the size that it was trained at."""

import dataclasses
import json

import pytest

from t2t.data import progress
from t2t.errors import DataError
from t2t.evaluation.complexity import complexity
from t2t.evaluation.row import evaluate_row, write_evaluation
from t2t.files import is_sealed, sha256_file, sha256_text
from t2t.models import create
from t2t.training.config import Parent, sha256_asked_of
from t2t.training.curves import curves_csv
from t2t.training.run import train_run
from tests.runs import changed, short_config, with_fine_images

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def fine_shards(shards, tmp_path_factory):
    """The shards beside fewer validation images, of 48 pixels."""
    return with_fine_images(shards, tmp_path_factory.mktemp("fine"), 50)


@pytest.fixture(scope="module")
def rows(fine_shards, tmp_path_factory):
    """The runs of a row, and of one that goes on from it at 48 pixels."""
    folder = tmp_path_factory.mktemp("rows")
    short = changed(short_config(), epochs=1, cooldown_epochs=0, warmup_epochs=0)
    train_run(short, fine_shards, folder / "work", folder / "plain" / "seed_0", {})
    parent = Parent(folder / "plain" / "seed_0", "weights")
    fine = dataclasses.replace(short, image_size=48, parent=parent)
    train_run(fine, fine_shards, folder / "work", folder / "fine" / "seed_0", {})
    return folder


@pytest.mark.parametrize("row, size, images", [("plain", 32, 60), ("fine", 48, 50)])
def test_scores_and_macs_are_those_at_the_rows_own_size(rows, fine_shards, row, size, images):
    evaluation = evaluate_row(rows / row, fine_shards)
    summary = evaluation.summary()
    assert (summary["image_size"], summary["val_images"]) == (size, images)
    network = create(
        "t2t_vit_7", backbone="t2t_vit", image_size=size, num_classes=10,
        width_factor=0.25, depth_factor=0.3,
    )  # fmt: skip
    assert summary["macs_g"] == complexity(network, size).macs / 1e9
    (last,) = (rows / row / "seed_0" / "metrics.jsonl").read_text().splitlines()
    assert summary["top1_pct"] == pytest.approx(json.loads(last)["val_top1_pct"])


def test_a_long_evaluation_says_how_far_it_is(rows, fine_shards, monkeypatch, capsys):
    monkeypatch.setattr(progress, "LINE_EVERY_S", 0.0)
    evaluate_row(rows / "fine", fine_shards)
    said = capsys.readouterr().out
    assert "t2t_vit_14-seed0, raw: 50 of 50 images" in said
    assert "t2t_vit_14-seed0: 50 of 50 images" in said


def test_other_images_than_in_training_are_refused(rows, shards, fine_shards, tmp_path):
    for path in fine_shards.iterdir():
        (tmp_path / path.name).symlink_to(path.resolve())
    for end in ("", ".json"):
        (tmp_path / f"val_fine.beton{end}").unlink()
        (tmp_path / f"val_fine.beton{end}").symlink_to(shards / f"val.beton{end}")
    with pytest.raises(DataError, match="trained beside another validation shard"):
        evaluate_row(rows / "fine", tmp_path)


def test_figures_are_written_for_each_seed(rows, fine_shards, tmp_path):
    evaluation = evaluate_row(rows / "fine", fine_shards)
    write_evaluation(evaluation, tmp_path / "a" / "row.json", tmp_path / "b" / "row.csv")
    written = json.loads((tmp_path / "a" / "row.json").read_text())
    assert is_sealed(written) and evaluation.summary().items() <= written.items()
    assert written["evaluations_sha256"] == sha256_file(tmp_path / "b" / "row.csv")
    assert written["curves_sha256"] == sha256_text(curves_csv({0: rows / "fine" / "seed_0"}))
    assert written["asked_sha256"] == sha256_asked_of(evaluation.configs)
    head, line = (tmp_path / "b" / "row.csv").read_text().splitlines()
    figures = dict(zip(head.split(","), line.split(","), strict=True))
    assert figures["digest"] == evaluation.configs[0]["digest"]
    assert float(figures["top1_pct"]) == evaluation.ema[0].top1_pct
