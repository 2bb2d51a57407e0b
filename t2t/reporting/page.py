"""The report's files: the table in three formats and one self-contained web page."""

import base64
import functools
import hashlib
import os
from collections.abc import Mapping
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from t2t.reporting.cells import column_groups, columns, signed
from t2t.reporting.claims import RULE, by_source, claims_csv, judged, tally
from t2t.reporting.collect import Report, ReportRow, block_label
from t2t.reporting.compare import DELTA_INTERVAL, TOP1_INTERVAL
from t2t.reporting.dots import transfer_picture
from t2t.reporting.efficiency import efficiency_picture, efficiency_rows
from t2t.reporting.figures import curve_pictures, delta_picture
from t2t.reporting.gallery import galleries
from t2t.reporting.heads import heads_pictures, rho_text
from t2t.reporting.paper_tables import table_views
from t2t.reporting.scatter import cost_pictures
from t2t.reporting.table import (
    SPREAD_NOTE,
    missing_commands,
    scale_statement,
    table_csv,
    table_markdown,
    table_tex,
)

# Further sets of images or labels, by their names in the metrics.
_EXTRA_TITLES = {"real": "ImageNet-ReaL", "v2": "ImageNet-V2"}
_TEMPLATES = Path(__file__).parent / "templates"


def write_report(report: Report, out_dir: Path) -> tuple[Path, ...]:
    """Write `table.md`, `.csv` and `.tex`, `claims.csv` and `index.html`, equal bytes for equal
    input.

    All is made before anything is written, so an error leaves the old files as they were.
    Other files in `out_dir` are left alone. Returns the five paths.
    """
    contents = {
        "table.md": table_markdown(report),
        "table.csv": table_csv(report),
        "table.tex": table_tex(report),
        "claims.csv": claims_csv(report),
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
    shown, claims = columns(), judged(report)
    return environment.get_template("index.html.j2").render(
        report=report,
        columns=shown,
        groups=column_groups(shown),
        tables=table_views(report),
        claims=by_source(claims),
        tally=tally(claims),
        rule=RULE,
        link=functools.partial(_link, report),
        block_label=block_label,
        statement=scale_statement(report),
        configuration=_configuration,
        extra_titles=_EXTRA_TITLES,
        inputs=_inputs(report),
        spread_note=SPREAD_NOTE,
        top1_interval=TOP1_INTERVAL,
        delta_interval=DELTA_INTERVAL,
        rows_missing=missing_commands(report),
        curves=curve_pictures(report),
        costs=cost_pictures(report),
        deltas=delta_picture(report),
        efficiency=efficiency_picture(report),
        efficiency_missing=[
            row.command
            for rows in efficiency_rows(report).values()
            for row in rows
            if row.result is None
        ],
        transfer=transfer_picture(report),
        transfers_missing=[t.command for t in report.transfers if t.result is None],
        heads=heads_pictures(report),
        heads_missing=[f"dvc repro analyse@{row}" for row, a in report.analyses.items() if not a],
        galleries=galleries(report),
        rho_text=rho_text,
        style=(_TEMPLATES / "page.css").read_text(encoding="utf-8"),
        script=script,
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )


def _link(report: Report, name: str) -> Markup:
    """A link to the details of the row or transfer `name`."""
    return Markup('<a href="#Details-{}">{}</a>').format(name, report.title_of(name))


def _configuration(row: ReportRow) -> str:
    """A row's resolved configuration as one line."""
    return ", ".join(f"{key}: {_plain(value)}" for key, value in row.info.recipe.items())


def _plain(value: object) -> str:
    """As in params.yaml, for people."""
    if isinstance(value, tuple | list):
        return f"[{', '.join(map(str, value))}]"
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{key}: {item}' for key, item in value.items())}}}"
    return str(value)


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
