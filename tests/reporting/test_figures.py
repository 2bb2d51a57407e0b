"""Labels stay apart, curves end where training ended."""

from dataclasses import replace

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Annotation

from t2t.reporting.figures import curve_pictures, delta_picture
from t2t.reporting.labels import FEW_POINTS, Point, label_points
from t2t.reporting.svg import inline_svg, page_style
from tests.reporting.synthetic import table_7, write_results


def labelled(points: list[Point]) -> tuple[Figure, list]:
    figure = Figure(figsize=(13.5, 7.2))
    axes = figure.subplots()
    axes.plot([point.x for point in points], [point.y for point in points], "o")
    axes.margins(0.1, 0.1)
    label_points(figure, axes, points)
    renderer = FigureCanvasAgg(figure).get_renderer()
    texts = [text for text in axes.texts if isinstance(text, Annotation)]
    # Of the text alone: an annotation's own extent takes in its point.
    return figure, [super(Annotation, text).get_window_extent(renderer) for text in texts]


@pytest.mark.parametrize("rows", [1, 2, 6, 11, 46])
def test_labels_do_not_cover_one_another(rows):
    with page_style():
        # Crowded into a corner by the one point far away.
        near = [Point(f"T2T-ViT-{n}", 20 + n % 3 / 5, 80 + n / 20) for n in range(rows)]
        points = [*near, Point("ViT-L/16", 30, 90)]
        figure, boxes = labelled(points)
    assert len(boxes) == rows + 1 if rows < FEW_POINTS else 5 < len(boxes) < rows + 1
    for index, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[index + 1 :])
        assert figure.bbox.x0 <= box.x0 and box.x1 <= figure.bbox.x1


def test_of_many_points_those_that_stand_alone_have_their_labels():
    with page_style():
        crowd = [Point(f"T2T-ViT-{n}", 20 + n / 1e3, 80 + n / 1e3) for n in range(40)]
        alone = [Point(f"ViT-{n}", 30 + n, 90) for n in range(3)]
        figure, _ = labelled([*crowd, *alone])
    (axes,) = figure.axes
    names = {text.get_text() for text in axes.texts}
    assert {"ViT-0", "ViT-1", "ViT-2"} <= names and 3 < len(names) < 43


def test_each_run_row_has_one_panel_named_after_it(results):
    report = results.collect()
    pictures = curve_pictures(report)
    assert [picture.row_id for picture in pictures] == [row.id for row in report.run_rows]
    assert all(
        row.info.title in picture.svg
        for row, picture in zip(report.run_rows, pictures, strict=True)
    )


def test_differences_are_absent_without_baselines(tmp_path):
    rows = {"vit_small": table_7()["vit_small"]}
    assert delta_picture(write_results(tmp_path, rows).collect()) is None


def test_papers_difference_of_zero_is_drawn_for_a_row_not_run(results):
    rows = table_7()
    small = rows["vit_small"]
    assert small.paper is not None
    rows["vit_small"] = replace(
        small, paper=replace(small.paper, delta_pct=0.0), baseline="t2t_vit_14"
    )
    picture = delta_picture(results.collect(rows))
    assert picture is not None and "ViT-S/16" in picture.svg


def test_ids_of_two_pictures_differ(results):
    pictures = []
    with page_style():
        for name in ("First", "Second"):
            figure = Figure()
            figure.subplots().plot([0, 1], [0, 1])
            pictures.append(inline_svg(figure, name, 'a "label" <b>'))
    assert pictures[0].replace("First-", "Second-") == pictures[1]
    assert 'id="First-' in pictures[0] and 'aria-label="a &quot;label&quot; &lt;b>"' in pictures[0]
