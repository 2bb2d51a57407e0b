"""The report's files: the table in three formats and one self-contained web page."""

import base64
import hashlib
import os
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from t2t.reporting.collect import Report, block_label
from t2t.reporting.figures import cost_pictures, curve_pictures, delta_picture
from t2t.reporting.table import (
    SPREAD_NOTE,
    columns,
    missing_commands,
    scale_statement,
    signed,
    table_csv,
    table_markdown,
    table_tex,
)

_TEMPLATES = Path(__file__).parent / "templates"


def write_report(report: Report, out_dir: Path) -> tuple[Path, ...]:
    """Write `table.md`, `table.csv`, `table.tex` and `index.html`, equal bytes for equal input.

    All is made before anything is written, so an error leaves the old files as they were.
    Other files in `out_dir` are left alone. Returns the four paths.
    """
    contents = {
        "table.md": table_markdown(report),
        "table.csv": table_csv(report),
        "table.tex": table_tex(report),
        "index.html": render_page(report),
    }
    out_dir.mkdir(parents=True, exist_ok=True)
    written = [(out_dir / f".{name}.partial", out_dir / name) for name in contents]
    try:
        for (partial, _), content in zip(written, contents.values(), strict=True):
            partial.write_text(content, encoding="utf-8", newline="\n")
        for partial, path in written:
            os.replace(partial, path)
    finally:
        for partial, _ in written:
            partial.unlink(missing_ok=True)
    return tuple(path for _, path in written)


def render_page(report: Report) -> str:
    """The page as HTML that asks for nothing outside itself."""
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["signed"] = signed
    script = (_TEMPLATES / "page.js").read_text(encoding="utf-8")
    shown = columns()
    return environment.get_template("index.html.j2").render(
        report=report,
        columns=shown,
        groups=[
            (group, sum(column.group == group for column in shown))
            for group in dict.fromkeys(column.group for column in shown)
        ],
        block_label=block_label,
        statement=scale_statement(report),
        inputs=_inputs(report),
        spread_note=SPREAD_NOTE,
        missing=missing_commands(report),
        curves=curve_pictures(report),
        costs=cost_pictures(report),
        deltas=delta_picture(report),
        style=(_TEMPLATES / "page.css").read_text(encoding="utf-8"),
        script=script,
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )


def _inputs(report: Report) -> str:
    """What the rows were measured on, where all of them agree but for the images' size."""
    found = [(row.info.title, row.result.metrics) for row in report.rows if row.result]
    if len({(metrics.num_classes, metrics.val_images) for _, metrics in found}) != 1:
        return ""
    titles: dict[int, list[str]] = {}
    for title, metrics in found:
        titles.setdefault(metrics.image_size, []).append(title)
    most, *others = sorted(titles, key=lambda size: -len(titles[size]))
    exceptions = "".join(f"; {size} × {size}: {', '.join(titles[size])}" for size in others)
    metrics = found[0][1]
    return (
        f"Ours: {most} × {most} pixels{exceptions}; {metrics.num_classes} classes, top-1 on "
        f"{metrics.val_images:,} validation images."
    )
