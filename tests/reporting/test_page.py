"""The page and the files beside it: complete, self-contained, repeatable, safe."""

import base64
import hashlib
import json
import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from t2t.errors import DataError
from t2t.reporting.collect import Report
from t2t.reporting.infos import Ancestor, PaperFigures, RowInfo
from t2t.reporting.page import render_page, write_report
from tests.reporting.synthetic import DIGITS, many_rows, table_7, write_metrics, write_results

NAMES = {"table.md", "table.csv", "table.tex", "claims.csv", "index.html"}


class Page(HTMLParser):
    """Ids, links and tags of a page, and its text outside scripts and styles."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.fragments: list[str] = []
        self.tags: list[tuple[str, dict]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.tags.append((tag, found))
        if "id" in found:
            self.ids.append(found["id"])
        if found.get("href", "").startswith("#"):
            self.fragments.append(found["href"][1:])

    def handle_data(self, data):
        if self.tags and self.tags[-1][0] not in ("script", "style"):
            self.text += data


@pytest.fixture(scope="module")
def report(tmp_path_factory) -> Report:
    return write_results(tmp_path_factory.mktemp("report"), table_7()).collect()


@pytest.fixture(scope="module")
def html(report) -> str:
    return render_page(report)


def test_every_row_has_its_anchor_and_every_link_a_target(html):
    page = Page(html)
    assert set(table_7()) <= set(page.ids)
    assert len(page.ids) == len(set(page.ids))
    assert set(page.fragments) <= set(page.ids)


def test_details_hold_each_seed_and_digest(report, html):
    text = Page(html).text
    for row in report.run_rows:
        for seed in row.result.seeds:
            assert seed.digest in text and f"{seed.top1_pct:.2f}" in text


def test_page_says_what_the_scale_is_and_what_is_missing(html):
    text = Page(html).text
    assert DIGITS.description in text
    assert "not the paper's claims" in text
    assert "dvc repro evaluate@vit_small" in text
    assert "the same network is 77.9 in Table 6" in text


def test_page_asks_for_nothing_outside(html):
    page = Page(html)
    for tag, attributes in page.tags:
        assert not attributes.get("src"), (tag, attributes)
        if tag != "a":
            assert attributes.get("href", "#").startswith(("#", "data:")), (tag, attributes)
    assert "@import" not in html


def test_pictures_are_well_formed_and_follow_the_pages_colours(html):
    pictures = re.findall(r"<svg.*?</svg>", html, flags=re.DOTALL)
    # Five rows were run, four panels of cost, one of differences.
    assert len(pictures) == 10
    for picture in pictures:
        ElementTree.fromstring(picture)
        assert "var(--ours)" in picture or "var(--paper)" in picture
        assert not re.search(r"#[0-9a-f]{6}\b", picture)


def test_axis_labels_keep_their_digits(html):
    assert "0.0025</text>" in html or "0.003</text>" in html


@pytest.mark.parametrize(("role", "said"), [("weights", "Starts from"), ("teacher", "Teacher")])
def test_details_name_the_row_that_another_starts_from(results, role, said):
    rows = table_7()
    info = rows["t2t_vit_c_14"]
    rows["t2t_vit_c_14"] = replace(info, ancestor=Ancestor("t2t_vit_14", role))
    html = render_page(results.collect(rows))
    assert html.count(f'<dt>{said}</dt><dd><a href="#t2t_vit_14">T2T-ViT-14</a>') == 1


def test_caption_names_rows_at_images_of_another_size(results):
    path = results.metrics_dir / "t2t_vit_c_14.json"
    metrics = json.loads(path.read_text()) | {"image_size": 48}
    write_metrics(results, "t2t_vit_c_14", metrics)
    text = Page(render_page(results.collect())).text
    assert "Ours: 32 × 32 pixels; 48 × 48: T2T-ViT_c-14; 10 classes" in text


def test_details_show_further_sets_and_what_others_measured_of_published_weights(results):
    row = "t2t_vit_14"
    metrics = json.loads((results.metrics_dir / f"{row}.json").read_text())
    interval = {"top1_low_pct": 86.5, "top1_high_pct": 87.5, "interval_over": "images"}
    metrics |= {
        "extra_sets": {"real": {"top1_pct": 87.01, "images": 46_837, **interval}},
        "released": {
            "file": "81.5.pth.tar",
            "sha256": "ab" * 32,
            "expected_top1_pct": metrics["top1_pct"] - 0.25,
        },
    }
    write_metrics(results, row, metrics)
    text = Page(render_page(results.collect())).text
    assert "ImageNet-ReaL87.01% [86.50, 87.50] over images, 46,837 images" in text
    assert f"81.5.pth.tar as published, SHA-256 {'ab' * 32}" in text
    assert f"{metrics['top1_pct'] - 0.25:.2f}% top-1 with it, +0.25 points here" in text


def test_a_row_of_published_weights_that_is_not_run_is_fetched(results):
    rows = table_7()
    rows["vit_small"] = replace(rows["vit_small"], released=True)
    text = Page(render_page(results.collect(rows))).text
    assert "dvc repro evaluate_released@vit_small fetches and measures it." in text


def test_removed_row_leaves_no_trace(results):
    rows = table_7()
    del rows["t2t_vit_c_14"]
    assert "t2t_vit_c_14" not in render_page(results.collect(rows))


def test_nothing_run_yet_still_gives_a_page(tmp_path):
    results = write_results(tmp_path, {"vit_small": table_7()["vit_small"]})
    text = Page(render_page(results.collect())).text
    assert "0 of 1 rows" in text and "not run" in text


def test_rows_without_the_paper_need_no_papers_panel(tmp_path):
    results = write_results(tmp_path, {"ours": RowInfo("Ours")}, seeds=1, epochs=1)
    text = render_page(results.collect())
    assert "Paper: top-1" not in text and "Not in the paper" in text


def test_titles_and_notes_are_escaped(tmp_path):
    attack = '"><script>alert(1)</script><img src=x onerror=alert(2)>'
    paper = PaperFigures("7", attack, 81.5, 21.5, 4.8, 2.0, attack)
    rows = {
        "vit": RowInfo(attack, paper),
        "t2t": RowInfo(attack + "$x_y$", paper, "vit"),
        "vit_small": RowInfo(attack, paper),
    }
    text = render_page(write_results(tmp_path, rows).collect())
    tags = Page(text).tags
    assert [tag for tag, _ in tags].count("script") == 1
    assert not any(tag == "img" or "onerror" in attributes for tag, attributes in tags)


def test_script_is_the_one_the_policy_allows(html):
    script = re.search(r"<script>(.*?)</script>", html, flags=re.DOTALL)[1]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in html.replace("&#39;", "'")


def test_writes_the_five_files_and_leaves_others(results, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "metrics.json").write_text("kept")
    paths = write_report(results.collect(), out)
    assert {path.name for path in paths} == NAMES
    assert {path.name for path in out.iterdir()} == NAMES | {"metrics.json"}


def test_damaged_results_leave_the_last_report_whole(results, tmp_path):
    write_report(results.collect(), tmp_path / "out")
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    path = results.metrics_dir / "t2t_vit_14.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"loss": float("nan")}))
    with pytest.raises(DataError, match="loss"):
        write_report(results.collect(), tmp_path / "out")
    assert before == {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}


PROGRAM = """
import sys
from pathlib import Path
from t2t.reporting.page import write_report
from tests.reporting.synthetic import table_7, write_results
folder = Path(sys.argv[1])
write_report(write_results(folder / "in", table_7()).collect(), folder / "out")
"""


def test_equal_inputs_give_equal_bytes_whatever_the_machines_settings(results, tmp_path):
    paths = write_report(results.collect(), tmp_path / "here")
    folder = tmp_path / "other"
    folder.mkdir()
    (folder / "matplotlibrc").write_text("axes.linewidth: 7\nxtick.major.pad: 20\n")
    environment = os.environ | {"PYTHONHASHSEED": "1", "MATPLOTLIBRC": str(folder)}
    subprocess.run([sys.executable, "-c", PROGRAM, str(folder)], env=environment, check=True)
    for path in paths:
        assert path.read_bytes() == (folder / "out" / path.name).read_bytes(), path.name


def test_fifty_long_rows_stay_under_the_size_limit(tmp_path):
    report = write_results(tmp_path, many_rows(50), epochs=310).collect()
    text = render_page(report)
    assert set(many_rows(50)) <= set(Page(text).ids)
    assert "some go without their name" in text
    assert len(text.encode()) < 1_500_000
