"""The report in a real browser, opened from its file."""

from pathlib import Path

import pytest

from t2t.reporting.page import write_report
from tests.reporting.synthetic import DIGITS, many_rows, table_7, write_results
from tests.reporting.synthetic_parts import ALL_PARTS, CLAIMS, write_parts

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def reports(tmp_path_factory) -> dict[str, Path]:
    made = {}
    for name, rows in (("small", table_7()), ("large", many_rows(50)), ("whole", table_7())):
        folder = tmp_path_factory.mktemp(name)
        results = write_results(folder / "in", rows)
        if name == "whole":
            write_parts(results)
        write_report(results.collect(**(ALL_PARTS if name == "whole" else {})), folder)
        made[name] = folder / "index.html"
    return made


@pytest.fixture
def open_page(browser, reports):
    """Opens a report; fails the test on any console message, error or outside request."""
    pages, trouble = [], []

    def open_report(name: str, *, width: int = 1280, scheme: str = "light", fragment: str = ""):
        address = reports[name].as_uri()
        page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
        pages.append(page)
        page.on("console", lambda message: trouble.append(message.text))
        page.on("pageerror", lambda error: trouble.append(str(error)))

        def check(request):
            if not request.url.startswith((address, "data:")):
                trouble.append(request.url)

        page.on("request", check)
        page.goto(address + fragment, wait_until="load")
        return page

    yield open_report
    for page in pages:
        page.close()
    assert trouble == []


def shown_rows(page) -> list[str]:
    return page.eval_on_selector_all("#Ablation tr[data-row]", "rows => rows.map(r => r.id)")


@pytest.mark.parametrize("name", ["small", "large"])
def test_every_row_is_there_and_visible(open_page, name):
    page = open_page(name)
    rows = list(table_7() if name == "small" else many_rows(50))
    assert sorted(shown_rows(page)) == sorted(rows)
    assert all(page.locator(f"#{row}").is_visible() for row in rows)
    assert page.locator("#Scale").inner_text().startswith(f"Scale {DIGITS.name}: ")


def test_columns_sort_by_keyboard_and_return(open_page):
    page = open_page("small")
    given = shown_rows(page)
    heading = page.locator("th[data-name='Top-1, %: ours']")
    heading.locator("button").focus()

    page.keyboard.press("Enter")
    assert heading.get_attribute("aria-sort") == "descending"
    descending = shown_rows(page)
    values = page.eval_on_selector_all(
        "#Ablation tr[data-row] td:nth-child(2)", "cells => cells.map(c => c.dataset.value)"
    )
    assert [float(x) for x in values[:-1]] == sorted(map(float, values[:-1]), reverse=True)
    assert (values[-1], descending[-1]) == ("", "vit_small")
    assert page.locator("#SortStatus").inner_text() == "Sorted by Top-1, %: ours, descending."

    page.keyboard.press("Space")
    assert heading.get_attribute("aria-sort") == "ascending"
    assert shown_rows(page) == [*descending[-2::-1], "vit_small"]

    page.keyboard.press("Enter")
    assert heading.get_attribute("aria-sort") == "none"
    assert shown_rows(page) == given


def test_only_one_column_is_sorted_at_a_time(open_page):
    page = open_page("small")
    page.locator("th[data-name='Parameters, M: paper'] button").click()
    page.locator("th[data-name='row'] button").click()
    assert page.locator("th[aria-sort=ascending], th[aria-sort=descending]").count() == 1
    expected = "c_14", "t_14", "14", "14_wo_t2t", "14_wide"
    assert shown_rows(page) == [*(f"t2t_vit_{end}" for end in expected), "vit_small"]


@pytest.mark.parametrize("name", ["whole", "large"])
@pytest.mark.parametrize("width", [380, 768, 1280])
def test_page_never_scrolls_sideways(open_page, name, width):
    page = open_page(name, width=width)
    page.eval_on_selector_all("details", "all => all.forEach(d => { d.open = true; })")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    if width == 380:
        region = page.locator("[role=region]:has(#Ablation)")
        assert region.evaluate("e => e.scrollWidth > e.clientWidth")
        region.evaluate("e => { e.scrollLeft = 200; }")
        row = page.locator("#Ablation tr[data-row] th").first
        assert row.evaluate("e => e.getBoundingClientRect().left >= 0")
        regions = page.locator("[role=region]:has(table.claims)")
        assert regions.count() == (name == "whole")
        assert regions.evaluate_all("all => all.every(e => e.scrollWidth <= e.clientWidth)"), (
            "a verdict is out of sight"
        )


def luminance(colour: str) -> float:
    channels = [int(part) / 255 for part in colour[colour.index("(") + 1 : -1].split(",")[:3]]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_colours_follow_the_scheme_with_enough_contrast(open_page, scheme):
    page = open_page("whole", scheme=scheme)
    ground = luminance(page.evaluate("getComputedStyle(document.body).backgroundColor"))
    assert (ground > 0.5) == (scheme == "light")
    for selector, property_name in (
        ("h1", "color"),
        ("td.paper", "color"),
        ("#Ablation .detail", "color"),
        ("figcaption a", "color"),
        ("figure svg text", "fill"),
        (".verdict.reproduced b", "color"),
        (".verdict.not-reproduced b", "color"),
        (".verdict.not-run b", "color"),
        (".claims .paper", "color"),
    ):
        found = page.locator(selector).first.evaluate(
            "(e, name) => getComputedStyle(e)[name]", property_name
        )
        light, dark = sorted([luminance(found), ground], reverse=True)
        assert (light + 0.05) / (dark + 0.05) >= 4.5, (selector, found)


def test_link_to_a_rows_details_opens_them(open_page):
    page = open_page("small", fragment="#Details-t2t_vit_14")
    assert page.locator("#Details-t2t_vit_14").get_attribute("open") is not None
    page.locator("#t2t_vit_c_14 th a").click()
    page.wait_for_function("document.getElementById('Details-t2t_vit_c_14').open")


def test_first_tab_stop_leads_to_the_results(open_page):
    page = open_page("small")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    assert page.evaluate("location.hash") == "#Main"


def test_readers_find_landmarks_captions_and_picture_names(open_page):
    page = open_page("small")
    assert page.get_by_role("main").count() == 1
    assert page.get_by_role("navigation", name="On this page").count() == 1
    assert page.get_by_role("img").count() == page.locator("svg").count() == 10
    assert page.locator("svg:not([aria-label])").count() == 0
    assert page.locator("table:not(:has(caption))").count() == 0
    assert page.get_by_role("rowheader", name="T2T-ViT_t-14").count() == 1


def test_every_claim_has_its_verdict_in_words(open_page):
    page = open_page("whole")
    assert page.locator("[id^=Claim-]").count() == len(CLAIMS)
    words = dict(
        page.eval_on_selector_all(
            "[id^=Claim-]", "rows => rows.map(r => [r.id, r.querySelector('.verdict b').innerText])"
        )
    )
    assert words["Claim-module"] == "reproduced" and words["Claim-absent"] == "not run"
    judged = page.locator(".verdict:is(.reproduced, .not-reproduced, .undecided)")
    said = [judged.nth(n).inner_text() for n in range(judged.count())]
    assert said and all("says nothing of the paper" in text for text in said)


def test_what_was_not_run_names_its_command(open_page):
    page = open_page("whole")
    commands = page.eval_on_selector_all(".missing code", "all => all.map(e => e.innerText)")
    assert commands == [
        "dvc repro evaluate@vit_small",
        "dvc repro transfer@cifar10_vit_small",
        "dvc repro analyse@vit_small",
    ]
    small = open_page("small")
    assert "dvc repro measure" in small.locator("#Costs .missing").inner_text()


def test_links_of_every_table_open_the_details(open_page):
    page = open_page("whole")
    for selector in ("#Claim-deep a", "h3#Table5 + div tbody tr:nth-child(2) a"):
        link = page.locator(selector).first
        target = link.get_attribute("href")
        link.click()
        page.wait_for_function("id => document.querySelector(id).open", arg=target)
        page.evaluate("id => { document.querySelector(id).open = false; }", target)
    anchors = page.eval_on_selector_all("a[href^='#']", "all => all.map(a => a.hash.slice(1))")
    assert all(page.evaluate("id => document.getElementById(id) !== null", x) for x in anchors)


NAMELESS = """() => {
  const named = (e) => (e.getAttribute('aria-label') || e.innerText || e.alt ||
    (e.getAttribute('aria-labelledby') || '').split(' ')
      .map((id) => document.getElementById(id)?.innerText || '').join('')).trim();
  return [...document.querySelectorAll('a, button, img, summary, nav, [role], [tabindex]')]
    .filter((e) => e.getAttribute('role') !== 'status' && !named(e))
    .map((e) => e.outerHTML.slice(0, 200));
}"""


def test_everything_to_be_reached_has_a_name(open_page):
    page = open_page("whole")
    page.eval_on_selector_all("details", "all => all.forEach(d => { d.open = true; })")
    assert page.evaluate(NAMELESS) == []


def test_headings_descend_by_one_and_every_section_is_named(open_page):
    page = open_page("whole")
    levels = page.eval_on_selector_all("h1, h2, h3, h4", "all => all.map(h => +h.tagName[1])")
    assert levels.count(1) == 1 and levels[0] == 1
    assert all(after - before <= 1 for before, after in zip(levels, levels[1:], strict=False))
    assert page.locator("section:not([aria-labelledby])").count() == 0


def test_tables_have_headers_in_both_directions(open_page):
    page = open_page("whole")
    page.eval_on_selector_all("details", "all => all.forEach(d => { d.open = true; })")
    assert page.locator("table:not(:has(thead th[scope=col]))").count() == 0
    assert page.locator("tbody tr:not(:has(th[scope]))").count() == 0


def test_tab_order_follows_the_page(open_page):
    page = open_page("whole")
    places = []
    for _ in range(25):
        page.keyboard.press("Tab")
        places.append(
            page.evaluate("[...document.querySelectorAll('*')].indexOf(document.activeElement)")
        )
    assert places == sorted(places) and len(set(places)) == len(places)


def test_large_page_opens_fast(open_page):
    page = open_page("large")
    assert page.evaluate("document.querySelectorAll('*').length") < 25_000
