"""What is measured beside the rows: absent parts are not run, damaged ones stop the report."""

import re

import pytest

from t2t.errors import DataError
from t2t.reporting.paper_tables import TRANSFERS, table_views
from tests.reporting.synthetic_parts import (
    ALL_PARTS,
    ANALYSED,
    NOT_ANALYSED,
    NOT_TRANSFERRED,
    write_parts,
)


@pytest.fixture
def whole(results):
    write_parts(results)
    return results


def test_absent_parts_are_not_run(results):
    report = results.collect(**ALL_PARTS)
    assert report.costs is None and report.differences == {}
    assert [transfer.result for transfer in report.transfers] == [None] * 3
    assert report.transfers[0].command == "dvc repro transfer@cifar10_t2t_vit_14"
    assert report.analyses == {ANALYSED: None, NOT_ANALYSED: None}


def test_every_part_is_read(whole):
    report = whole.collect(**ALL_PARTS)
    by_id = {row.id: row for row in report.rows}
    assert by_id["t2t_vit_14"].cost.latency_ms == 2.5
    assert by_id["t2t_vit_14"].delta.over == "seeds and images"
    assert by_id["t2t_vit_t_14"].delta.over == "seeds"
    tops = {t.id: t.result and t.result.metrics.top1_pct for t in report.transfers}
    assert tops[NOT_TRANSFERRED] is None and tops["cifar10_t2t_vit_14"] == 90.5
    analysis = report.analyses[ANALYSED]
    assert len(analysis.redundancy.networks) == 3 and len(analysis.pictures) == 5


def test_the_table_of_transfers_says_where_the_paper_has_no_figure(whole):
    (view,) = [v for v in table_views(whole.collect(**ALL_PARTS)) if v.number == TRANSFERS]
    (column,) = [column for column in view.columns if column.key == "paper_top1_pct"]
    shown = {name: [column.cell(row).text for row in rows] for name, rows in view.blocks}
    assert shown == {"CIFAR-10": ["97.5", "97.1"], "Flowers-102": ["not printed"]}


SEALED = "content_sha256: is not that of its figures"
DAMAGE = {
    "a cost": ("costs.json", lambda t: t.replace('"latency_ms": 2.5', '"latency_ms": 2.6'), SEALED),
    "a difference": ("differences.json", lambda t: t.replace("1.5", "1.6"), SEALED),
    "a head's worth": (
        f"analyses/{ANALYSED}/redundancy.json",
        lambda t: t.replace('"mean_drop_pct": 0.4', '"mean_drop_pct": 0.5'),
        SEALED,
    ),
    "no list of pictures": (
        f"analyses/{ANALYSED}/images.json",
        lambda t: "{",
        "images.json: not JSON",
    ),
    "no JSON": ("costs.json", lambda text: text[:-4], "costs.json: not JSON"),
    "not a number": ("costs.json", lambda t: t.replace("2.5", "NaN"), "rows.*finite"),
    "basis": ("differences.json", lambda t: t.replace("seeds and", "and"), "t2t_vit_14: over"),
    "other transfer": (
        "transfers/cifar10_t2t_vit_14.json",
        lambda t: t.replace('"transfer": "cifar10', '"transfer": "cifar100'),
        "transfer: is 'cifar100_t2t_vit_14', expected 'cifar10_t2t_vit_14'",
    ),
    "mean of other seeds": (
        "transfers/cifar10_t2t_vit_14.json",
        lambda t: t.replace('"top1_pct": 90.5', '"top1_pct": 90.9'),
        "top1_pct: is 90.9",
    ),
    "interval of other seeds": (
        "transfers/cifar10_t2t_vit_14.json",
        lambda t: t.replace('"top1_low_pct": 84.15', '"top1_low_pct": 89.15'),
        "cifar10_t2t_vit_14.json: content_sha256",
    ),
    "other seeds": (
        "transfers/cifar10_t2t_vit_14.csv",
        lambda t: t.replace("98.5", "97.5"),
        r"cifar10_t2t_vit_14.csv: .*not the file that .*cifar10_t2t_vit_14.json",
    ),
    "other curves": (
        "transfers/curves/cifar10_t2t_vit_14.csv",
        lambda t: t.replace("50.0", "51.0"),
        r"curves/cifar10_t2t_vit_14.csv: .*not the file that",
    ),
    "other row": (
        f"analyses/{ANALYSED}/redundancy.json",
        lambda t: t.replace('"row": "t2t_vit_14"', '"row": "vit_small"'),
        "row: is 'vit_small', expected 't2t_vit_14'",
    ),
    "a head too many": (
        f"analyses/{ANALYSED}/redundancy.json",
        lambda t: re.sub(r'"drop_pct": \[', '"drop_pct": [0.5, ', t, count=1),
        "one entry for each of its 2 heads",
    ),
    "no picture": (
        f"analyses/{ANALYSED}/tokens_1.png",
        lambda t: "",
        "tokens_1.png: not the file that .*redundancy.json was written beside",
    ),
    "path outside": (
        f"analyses/{ANALYSED}/images.json",
        lambda t: t.replace("tokens_1.png", "../x.png"),
        "images.json: file",
    ),
}


@pytest.mark.parametrize(("name", "damage", "said"), DAMAGE.values(), ids=DAMAGE)
def test_damaged_parts_are_named(whole, name, damage, said):
    path = whole.folder / name
    path.write_text(damage(path.read_text(errors="replace")))
    with pytest.raises(DataError, match=said):
        whole.collect(**ALL_PARTS)


@pytest.mark.parametrize("table", ["cifar10_t2t_vit_14.csv", "curves/cifar10_t2t_vit_14.csv"])
def test_a_transfer_without_its_tables_is_named(whole, table):
    (whole.folder / "transfers" / table).unlink()
    with pytest.raises(DataError, match=f"{table}: (missing|not the file)"):
        whole.collect(**ALL_PARTS)
