"""Results are joined with the rows asked for, and damaged ones stop the report."""

import contextlib
import dataclasses
import json
import re
import statistics

import pytest
from scipy import stats

from t2t.errors import ConfigError, DataError
from t2t.reporting.compare import paired_delta
from t2t.reporting.infos import Ancestor, PaperFigures, RowInfo
from tests.reporting.synthetic import NOT_RUN, table_7, write_metrics, write_results

ROW = "t2t_vit_14"


def test_rows_keep_the_order_given(results):
    rows = dict(reversed(table_7().items()))
    assert [row.id for row in results.collect(rows).rows] == list(rows)


def test_a_row_without_results_is_not_run(results):
    report = results.collect()
    (missing,) = [row for row in report.rows if row.result is None]
    assert (missing.id, missing.command) == (NOT_RUN, f"dvc repro evaluate@{NOT_RUN}")
    assert missing.delta is None
    assert len(report.run_rows) == 5


def test_a_removed_rows_files_are_never_read(results):
    (results.metrics_dir / f"{ROW}.json").write_text("damaged")
    rows = table_7()
    del rows[ROW], rows["t2t_vit_14_wide"]
    assert ROW not in [row.id for row in results.collect(rows).rows]


def test_blocks_gather_rows_that_stand_apart(results):
    rows = table_7()
    first = next(iter(rows))
    rows = {key: rows[key] for key in rows if key != first} | {first: rows[first]}
    blocks = dict(results.collect(rows).blocks())
    assert list(blocks) == ["Table 7, T2T module", "Table 7, deep-narrow", "Table 2"]
    assert [row.id for row in blocks["Table 7, T2T module"]][-1] == first


def test_row_outside_the_paper_has_its_own_block(results):
    report = results.collect({ROW: RowInfo("Ours alone")})
    assert report.blocks()[0][0] == "Not in the paper"


def test_blocks_of_a_table_stand_together_and_rows_outside_the_paper_last(results):
    first, second, third, *_, last = table_7()
    rows = table_7()
    rows[second] = RowInfo("Ours")
    rows[last] = RowInfo("T2T-ViT-24", PaperFigures("7", "depth", 82.3, 64.1, 13.8))
    rows[third] = RowInfo("ViT", PaperFigures("2", "", 78.1, 48.6, 10.1))
    labels = [label for label, _ in results.collect(rows).blocks()]
    tables = "Table 7, T2T module", "Table 7, deep-narrow", "Table 7, depth", "Table 2"
    assert labels == [*tables, "Not in the paper"]


@pytest.mark.parametrize("baseline", ["t2t_vit_15", ROW])
def test_baseline_must_be_another_row(results, baseline):
    with pytest.raises(ConfigError, match=rf"{ROW}: baseline: '{baseline}' is no other row"):
        results.collect({ROW: RowInfo("T2T-ViT-14", None, baseline)})


def test_ancestor_must_be_another_row(results):
    ancestor = Ancestor("t2t_vit_15", "teacher")
    with pytest.raises(ConfigError, match=f"{ROW}: ancestor: 't2t_vit_15' is no other row"):
        results.collect({ROW: RowInfo("T2T-ViT-14", ancestor=ancestor)})


def test_a_row_with_an_ancestor_has_a_stage_of_its_own_family(results):
    rows = table_7() | {NOT_RUN: RowInfo("ViT-S/16", ancestor=Ancestor(ROW, "teacher"))}
    assert results.collect(rows).rows[-1].command == f"dvc repro evaluate_derived@{NOT_RUN}"


def test_no_rows_is_an_error(results):
    with pytest.raises(ConfigError, match="at least one row"):
        results.collect({})


def test_delta_pairs_common_seeds_only():
    ours, baseline = {0: 81.0, 1: 82.5, 2: 80.5, 7: 99.0}, {2: 79.0, 1: 80.0, 0: 80.5, 8: 1.0}
    delta = paired_delta(ours, baseline)
    assert delta is not None
    oracle = stats.ttest_rel([81.0, 82.5, 80.5], [80.5, 80.0, 79.0]).confidence_interval(0.95)
    assert delta.mean_pct == pytest.approx(statistics.fmean([0.5, 2.5, 1.5]))
    assert (delta.low_pct, delta.high_pct) == pytest.approx((oracle.low, oracle.high))
    assert delta.seeds == 3


def test_delta_of_one_seed_has_no_interval():
    delta = paired_delta({0: 81.0}, {0: 80.0, 1: 70.0})
    assert delta is not None
    assert (delta.mean_pct, delta.low_pct, delta.high_pct, delta.seeds) == (1.0, None, None, 1)


def test_delta_without_common_seed_is_none():
    assert paired_delta({0: 81.0}, {1: 80.0}) is None


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("row", "t2t_vit_19"),
        ("scale", "imagenet"),
        ("top1_pct", float("nan")),
        ("top1_pct", 101.0),
        ("top1_pct", "93.1"),
        ("top1_pct", 12.5),
        ("top1_std_pct", 9.0),
        ("top1_std_pct", -0.1),
        ("top1_low_pct", None),
        ("top1_high_pct", 100.5),
        ("interval_over", "runs"),
        ("top5_pct", 98.0),
        ("top1_raw_pct", -1.0),
        ("loss", float("inf")),
        ("params_m", 0),
        ("params_trainable_m", 1e3),
        ("macs_g", None),
        ("macs_g", -4.8),
        ("seeds", 4),
        ("seeds", True),
        ("image_size", 32.5),
        ("extra_sets", {"real": {"top1_pct": 87.0}}),
        ("released", {"file": "81.5_T2T_ViT_14.pth.tar"}),
        ("val_images", 0),
    ],
)
def test_damaged_metrics_name_file_and_key(results, key, value):
    path = results.metrics_dir / f"{ROW}.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {key: value}))
    with pytest.raises(DataError, match=rf"^{re.escape(str(path))}: {key}: "):
        results.collect()


@pytest.mark.parametrize(
    "key", ["row", "top1_std_pct", "top1_low_pct", "interval_over", "val_images"]
)
def test_missing_key_is_named(results, key):
    path = results.metrics_dir / f"{ROW}.json"
    content = json.loads(path.read_text())
    del content[key]
    path.write_text(json.dumps(content))
    with pytest.raises(DataError, match=rf"{ROW}\.json: {key}: Field required"):
        results.collect()


@pytest.mark.parametrize("content", ["", "{", "[]", "3", '{"row": "t2t_vit_14"'])
def test_metrics_that_are_no_object(results, content):
    path = results.metrics_dir / f"{ROW}.json"
    path.write_text(content)
    with pytest.raises(DataError, match=re.escape(str(path))):
        results.collect()


def test_metrics_that_are_no_text(results):
    (results.metrics_dir / f"{ROW}.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="not JSON"):
        results.collect()


@pytest.mark.parametrize("part", ["evaluations_dir", "curves_dir"])
def test_missing_and_empty_csv(results, part):
    path = getattr(results, part) / f"{ROW}.csv"
    header = path.read_text().splitlines()[0]
    path.write_text(header + "\n")
    with pytest.raises(DataError, match=rf"{re.escape(str(path))}: holds no line"):
        results.collect()
    path.unlink()
    with pytest.raises(DataError, match=rf"{re.escape(str(path))}: missing"):
        results.collect()


@pytest.mark.parametrize(
    ("part", "column", "value"),
    [
        ("evaluations_dir", "seed", "zero"),
        ("evaluations_dir", "top1_pct", "nan"),
        ("evaluations_dir", "top5_raw_pct", "100.1"),
        ("evaluations_dir", "loss", ""),
        ("evaluations_dir", "digest", ""),
        ("curves_dir", "epoch", "-1"),
        ("curves_dir", "lr", "inf"),
        ("curves_dir", "train_loss", ""),
        ("curves_dir", "val_loss", "nan"),
    ],
)
def test_damaged_csv_names_file_line_and_column(results, part, column, value):
    path = getattr(results, part) / f"{ROW}.csv"
    lines = [line.split(",") for line in path.read_text().splitlines()]
    lines[2][lines[0].index(column)] = value
    path.write_text("\n".join(",".join(line) for line in lines))
    with pytest.raises(DataError, match=rf"{re.escape(str(path))}: line 3: {column}: "):
        results.collect()


@pytest.mark.parametrize("part", ["evaluations_dir", "curves_dir"])
def test_repeated_line_is_an_error(results, part):
    path = getattr(results, part) / f"{ROW}.csv"
    lines = path.read_text().splitlines()
    if part == "evaluations_dir":
        lines[2] = lines[1]
    else:
        lines.append(lines[1])
    path.write_text("\n".join(lines))
    with pytest.raises(DataError, match="stands there twice"):
        results.collect()


def test_epochs_without_validation_are_allowed(results):
    path = results.curves_dir / f"{ROW}.csv"
    lines = path.read_text().splitlines()
    lines[1] = ",".join([*lines[1].split(",")[:5], "", "", ""])
    path.write_text("\n".join(lines))
    metrics = json.loads((results.metrics_dir / f"{ROW}.json").read_text())
    write_metrics(results, ROW, metrics)
    row = next(row for row in results.collect().rows if row.id == ROW)
    assert row.result is not None
    assert row.result.curve[0].val_top1_pct is None


@pytest.mark.parametrize("measured, told", [("a" * 64, False), ("b" * 64, True), (None, False)])
def test_figures_of_what_is_no_longer_asked_are_refused(results, measured, told):
    metrics = json.loads((results.metrics_dir / f"{ROW}.json").read_text())
    write_metrics(results, ROW, metrics | {"asked_sha256": measured})
    rows = table_7()
    rows[ROW] = dataclasses.replace(rows[ROW], asked_sha256="a" * 64)
    text = rf"{ROW}\.json: .* of {ROW} were changed .* run `dvc repro evaluate@{ROW}`"
    with pytest.raises(DataError, match=text) if told else contextlib.nullcontext():
        assert results.collect(rows)


def test_one_seed_has_no_spread(tmp_path):
    report = write_results(tmp_path, table_7(), seeds=1).collect()
    assert report.rows[0].result.metrics.top1_std_pct is None
    assert report.rows[1].delta.low_pct is None
