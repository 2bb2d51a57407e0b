"""What is kept of each image."""

import numpy as np
import pyarrow
import pyarrow.compute
import pyarrow.parquet
import pytest
import torch
from torch import nn

from t2t.data.augment import normalize
from t2t.errors import DataError
from t2t.evaluation.predict import predict
from t2t.evaluation.predictions import NO_CLASS, read_predictions, read_row, write_predictions
from t2t.training.inputs import validation_loader
from t2t.training.validate import validate

MEAN, STD = (0.3, 0.3, 0.3), (0.35, 0.35, 0.35)
CPU = torch.device("cpu")


def network(classes):
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, classes))


@pytest.fixture(scope="module")
def loader(shards):
    return validation_loader(shards)


@pytest.fixture
def kept(loader):
    return predict(network(10), loader, CPU, MEAN, STD)[1]


def test_predictions_are_the_networks_answers_in_the_shards_order(loader):
    model = network(10)
    score, found = predict(model, loader, CPU, MEAN, STD)
    (batch,) = loader.epoch(0)
    with torch.no_grad():
        shares = model(normalize(batch.images, MEAN, STD)).softmax(1)
    best = shares.sort(1, descending=True)
    np.testing.assert_array_equal(found.labels, batch.labels)
    np.testing.assert_array_equal(found.top, best.indices[:, :5])
    np.testing.assert_allclose(found.confidence, best.values[:, 0], rtol=1e-5)
    assert score == validate(model, loader, CPU, MEAN, STD)
    assert score.top1_pct == pytest.approx(100 * found.correct.mean())
    hits = (found.top == found.labels[:, None]).any(1)
    assert score.top5_pct == pytest.approx(100 * hits.mean())
    assert not model._forward_hooks


def test_fewer_than_five_classes_leave_places_empty(loader, monkeypatch):
    monkeypatch.setattr(nn.functional, "cross_entropy", lambda *_, **__: torch.zeros(()))
    _, found = predict(network(3), loader, CPU, MEAN, STD)
    assert (found.top[:, :3] >= 0).all() and (found.top[:, 3:] == NO_CLASS).all()


def test_the_file_has_the_columns_that_it_promises(kept, tmp_path):
    write_predictions(kept, tmp_path / "row" / "seed_0.parquet")
    table = pyarrow.parquet.read_table(tmp_path / "row" / "seed_0.parquet")
    kinds = {name: str(table.schema.field(name).type) for name in table.column_names}
    tops = dict.fromkeys((f"top{rank}" for rank in range(1, 6)), "int32")
    assert kinds == {"image": "int32", "label": "int32", **tops, "confidence": "float"}
    assert table["image"].to_pylist() == list(range(60))


def test_what_is_written_reads_back_and_is_the_same_bytes_again(kept, tmp_path):
    for folder in (tmp_path / "a" / "row", tmp_path / "b" / "row"):
        for name in ("seed_2.parquet", "seed_10.parquet"):
            write_predictions(kept, folder / name)
    assert len({path.read_bytes() for path in tmp_path.rglob("*.parquet")}) == 2
    rows = read_row(tmp_path / "a" / "row")
    assert set(rows) == {2, 10}
    for field in ("labels", "top", "confidence"):
        np.testing.assert_array_equal(getattr(rows[2], field), getattr(kept, field))
    assert read_row(tmp_path / "absent") == {}


@pytest.mark.parametrize(
    "fault", ["cut", "no such column", "another order", "another answer", "another row's"]
)
def test_a_file_that_is_none_of_ours_is_refused(kept, tmp_path, fault):
    path = tmp_path / "seed_0.parquet"
    write_predictions(kept, path)
    table = pyarrow.parquet.read_table(path)
    if fault == "cut":
        path.write_bytes(path.read_bytes()[:-10])
    elif fault == "no such column":
        pyarrow.parquet.write_table(table.drop_columns(["top3"]), path)
    elif fault == "another order":
        pyarrow.parquet.write_table(table.slice(1), path)
    elif fault == "another answer":
        place = table.column_names.index("top1")
        other = pyarrow.compute.add(table["top1"], 1)
        pyarrow.parquet.write_table(table.set_column(place, "top1", other), path)
    else:
        write_predictions(kept, tmp_path / "other" / path.name)
        path.write_bytes((tmp_path / "other" / path.name).read_bytes())
    with pytest.raises(DataError, match=r"seed_0.parquet: .*evaluate the row again"):
        read_predictions(path)
