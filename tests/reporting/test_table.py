"""The table's text in Markdown, CSV and LaTeX."""

import csv
import io
from dataclasses import replace

import pytest

from t2t.reporting.cells import signed, significant
from t2t.reporting.infos import Ancestor, PaperFigures, RowInfo
from t2t.reporting.table import (
    scale_statement,
    table_csv,
    table_markdown,
    table_tex,
)
from tests.reporting.synthetic import table_7, write_results


@pytest.mark.parametrize(
    ("value", "text"),
    [(304.3, "304"), (21.5, "21.5"), (4.783, "4.78"), (0.0612, "0.0612"), (0.0000456, "0.0000456")],
)
def test_significant(value, text):
    assert significant(value) == text


@pytest.mark.parametrize(
    ("value", "text"), [(2.04, "+2.0"), (-2.7, "−2.7"), (0.0, "0.0"), (-0.04, "0.0")]
)
def test_signed(value, text):
    assert signed(value, 1) == text


def lines_of_table(markdown: str) -> list[list[str]]:
    rows = [line for line in markdown.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in rows]


def test_markdown_lines_have_equal_width_and_the_rows_order(results):
    lines = lines_of_table(table_markdown(results.collect()))
    assert {len(line) for line in lines} == {11}
    assert [line[0].replace("\\", "") for line in lines[2:]] == [
        row.title for row in table_7().values()
    ]


def test_markdown_figures_equal_the_results(results):
    report = results.collect()
    line = lines_of_table(table_markdown(report))[3]
    metrics, delta = report.rows[1].result.metrics, report.rows[1].delta
    assert line[2] == f"{metrics.top1_pct:.2f} ± {metrics.top1_std_pct:.2f} (3 seeds)"
    assert line[4] == "81.5"
    assert line[5] == f"+{delta.mean_pct:.2f} [+{delta.low_pct:.2f}, +{delta.high_pct:.2f}]"
    assert line[6] == "+2.0"
    assert line[8:] == ["21.5", "0.00280", "4.8"]


def test_row_not_run_shows_the_papers_figures_and_its_command(results):
    text = table_markdown(results.collect())
    line = lines_of_table(text)[-1]
    assert line[2:5] == ["not run", "", "78.1"]
    assert "`dvc repro evaluate@vit_small`" in text


def test_one_seed_shows_no_spread(tmp_path):
    report = write_results(tmp_path, table_7(), seeds=1).collect()
    line = lines_of_table(table_markdown(report))[3]
    assert "±" not in line[2] and line[2].endswith("(1 seed)")
    assert "[" not in line[5] and line[5].endswith("(1 seed)")


def test_scale_says_whether_it_checks_the_claims(results):
    report = results.collect()
    assert "not the paper's claims" in scale_statement(report)
    honest = replace(report, scale=replace(report.scale, checks_claims=True))
    assert "not the paper's claims" not in scale_statement(honest)
    assert scale_statement(honest) in table_markdown(honest)


def test_csv_reads_back(results):
    report = results.collect()
    lines = list(csv.DictReader(io.StringIO(table_csv(report))))
    assert [line["row"] for line in lines] == list(table_7())
    assert float(lines[1]["top1_pct"]) == pytest.approx(report.rows[1].result.metrics.top1_pct)
    assert float(lines[1]["delta_low_pct"]) == pytest.approx(report.rows[1].delta.low_pct, abs=1e-6)
    assert float(lines[1]["top1_low_pct"]) == pytest.approx(
        report.rows[1].result.metrics.top1_low_pct, abs=1e-6
    )
    assert (lines[1]["top1_over"], lines[-1]["top1_over"]) == ("seeds", "")
    assert lines[1]["paper_delta_pct"] == "2.0"
    assert (lines[0]["delta_pct"], lines[0]["baseline"]) == ("", "")
    assert (lines[-1]["seeds"], lines[-1]["top1_pct"], lines[-1]["paper_macs_g"]) == (
        "",
        "",
        "10.1",
    )


def test_markdown_gathers_rows_by_block_and_csv_keeps_their_order(results):
    rows = table_7()
    first = next(iter(rows))
    apart = {key: rows[key] for key in rows if key != first} | {first: rows[first]}
    apart["t2t_vit_c_14"] = replace(
        rows["t2t_vit_c_14"], ancestor=Ancestor("t2t_vit_14", "weights")
    )
    report = results.collect(apart)
    labels = [line[1] for line in lines_of_table(table_markdown(report))[2:]]
    assert labels == ["Table 7, T2T module"] * 4 + ["Table 7, deep-narrow", "Table 2"]
    lines = {line["row"]: line for line in csv.DictReader(io.StringIO(table_csv(report)))}
    assert list(lines) == list(apart)
    derived = lines["t2t_vit_c_14"]
    assert (derived["ancestor"], derived["ancestor_role"]) == ("t2t_vit_14", "weights")
    assert lines["t2t_vit_14"]["ancestor"] == ""


HOSTILE = "a|b <i>&_{x}\\$5% [y](z) `c`\nnext"


def test_hostile_titles_stay_one_cell(results):
    paper = PaperFigures("7", "50% | <b>", 81.5, 21.5, 4.8)
    report = results.collect({"t2t_vit_14": RowInfo(HOSTILE, paper)})
    line = table_markdown(report).splitlines()[2]
    assert line.replace("\\|", "").count("|") == 12
    assert "<i>" not in line and "<b>" not in line and "\\[y\\]" in line
    assert next(csv.DictReader(io.StringIO(table_csv(report))))["title"] == HOSTILE


def test_tex_escapes_and_has_equal_columns(results):
    paper = PaperFigures("7", "50% & more", 81.5, 21.5, 4.8)
    report = results.collect({"t2t_vit_14": RowInfo(HOSTILE, paper)})
    body = [line for line in table_tex(report).splitlines() if not line.startswith("%")]
    row = next(line for line in body if line.startswith("a|b"))
    assert r"\textless{}i\textgreater{}\&\_\{x\}\textbackslash{}\$5\%" in row
    assert row.replace(r"\&", "").count("&") == 9
    assert r"\emph{Table 7, 50\% \& more}" in "\n".join(body)
    assert sum(line.startswith(r"\begin") for line in body) == 1
