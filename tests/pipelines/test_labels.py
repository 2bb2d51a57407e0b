"""What MLflow shows beside a run: every row and transfer has it."""

from pathlib import Path

import pytest

from pipelines.labels import row_labels
from pipelines.params.reader import Params
from tests.released import with_released_rows

ROOT = Path(__file__).resolve().parents[2]
SECTIONS = ("rows", "derived", "released", "transfers")


@pytest.fixture(scope="module")
def params(tmp_path_factory):
    path = tmp_path_factory.mktemp("labels") / "params.yaml"
    path.write_text(with_released_rows((ROOT / "params.yaml").read_text()))
    return Params(path)


@pytest.mark.parametrize("section", SECTIONS)
def test_every_run_has_its_title_and_the_papers_figure(params, section):
    labels = row_labels(params)
    assert params.tree[section]
    for name, row in params.tree[section].items():
        assert labels[name]["title"] == row["title"]
        assert labels[name]["baseline"] == (row.get("baseline") or "none")
        printed = f"{row['paper']['top1_pct']:.1f}" if row["paper"] else None
        assert labels[name].get("paper_top1_pct") == printed


def test_where_the_paper_prints_it(params):
    labels = row_labels(params)
    assert labels["t2t_vit_7_released"]["paper_table"] == "Table 4, lite"
    assert labels["cifar10_t2t_vit_14"]["paper_table"] == "Table 5"
