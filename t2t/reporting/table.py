"""The ablation table as Markdown, CSV or LaTeX."""

import csv
import io
import re

from t2t.reporting.cells import MINUS, Cell, Column, columns
from t2t.reporting.collect import Report
from t2t.reporting.compare import DELTA_INTERVAL

SPREAD_NOTE = (
    "Top-1: mean over seeds, EMA weights, ± sample standard deviation. "
    "Δ: mean of the per-seed differences to the row's baseline over the seeds both have, "
    f"in brackets its {DELTA_INTERVAL}."
)

# Beside the columns shown, the table as CSV has these figures of the metrics.
_TOP_FIGURES = ("top1_std_pct", "top1_low_pct", "top1_high_pct", "top5_pct")


def scale_statement(report: Report) -> str:
    """What the scale is and whether its figures say anything about the paper's claims."""
    scale = report.scale
    verdict = (
        "Its results can be held against the paper's."
        if scale.checks_claims
        else "It checks the machinery, not the paper's claims: read its accuracies as proof "
        "that the pipeline works, not as evidence for or against the paper."
    )
    return f"Scale {scale.name}: {scale.description.strip().rstrip('.')}. {verdict}"


def missing_commands(report: Report) -> tuple[str, ...]:
    """The commands that produce the rows not run yet."""
    return tuple(row.command for row in report.rows if row.result is None)


def table_markdown(report: Report) -> str:
    """The table in GitHub's Markdown, with the notes needed to read it; ends with a newline."""
    shown = columns()
    headings = [f"{column.group}: {column.heading}" for column in shown]
    lines = [
        "| " + " | ".join(["Row", "In the paper", *headings]) + " |",
        "|:--|:--|" + "--:|" * len(headings),
    ]
    for label, rows in report.blocks():
        for row in rows:
            cells = [_markdown(row.info.title), _markdown(label)]
            for column in shown:
                cell = column.cell(row)
                cells.append(" ".join(filter(None, (cell.text, _bracketed(cell.detail)))))
            lines.append("| " + " | ".join(cells) + " |")
    lines += ["", _markdown(scale_statement(report)), "", SPREAD_NOTE]
    if commands := missing_commands(report):
        lines += ["", "Not run yet: " + ", ".join(f"`{command}`" for command in commands) + "."]
    return "\n".join(lines) + "\n"


def _bracketed(detail: str) -> str:
    return f"({detail})" if detail and not detail.startswith("[") else detail


def _markdown(text: str) -> str:
    one_line = " ".join(text.split())
    escaped = one_line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_|\[\]~])", r"\\\1", escaped)


def table_csv(report: Report) -> str:
    """The table as CSV with plain numbers, rounded to six decimals; absent figures are empty."""
    shown = columns()
    output = io.StringIO()
    writer = csv.writer(output, lineterminator="\n")
    head = ["row", "title", "scale", "paper_table", "paper_block", "baseline"]
    head += ["ancestor", "ancestor_role", "seeds"]
    extra = [*_TOP_FIGURES, "delta_low_pct", "delta_high_pct", "delta_seeds"]
    extra += ["delta_over", "top1_over"]
    writer.writerow([*head, *(column.key for column in shown), *extra])
    for row in report.rows:
        metrics = row.result.metrics if row.result else None
        paper, delta = row.info.paper, row.delta
        names = [row.id, row.info.title, report.scale.name]
        names += [paper.table, paper.block] if paper else ["", ""]
        ancestor = row.info.ancestor
        names += [row.info.baseline or ""]
        names += [ancestor.row, ancestor.role] if ancestor else ["", ""]
        names += [metrics.seeds if metrics else ""]
        figures = [column.cell(row).value for column in shown]
        figures += [getattr(metrics, key) if metrics else None for key in _TOP_FIGURES]
        figures += [delta.low_pct, delta.high_pct, delta.seeds] if delta else [None] * 3
        plain = ["" if x is None else round(x, 6) for x in figures]
        bases = [delta.over if delta else "", metrics.interval_over if metrics else ""]
        writer.writerow([*names, *plain, *bases])
    return output.getvalue()


def table_tex(report: Report) -> str:
    """The table as a LaTeX `tabular`; the including document loads `booktabs`."""
    shown = columns()
    lines = [
        f"% {_tex(scale_statement(report))}",
        f"% {_tex(SPREAD_NOTE)}",
        rf"\begin{{tabular}}{{l{'r' * len(shown)}}}",
        r"\toprule",
        *_tex_head(shown),
    ]
    for label, rows in report.blocks():
        title = rf"\multicolumn{{{len(shown) + 1}}}{{l}}{{\emph{{{_tex(label)}}}}}"
        lines += [r"\midrule", title + r" \\"]
        for row in rows:
            cells = [_tex_cell(column.cell(row)) for column in shown]
            lines.append(" & ".join([_tex(row.info.title), *cells]) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}"]) + "\n"


def _tex_head(shown: tuple[Column, ...]) -> list[str]:
    spans, rules, start = [""], [], 2
    for group in dict.fromkeys(column.group for column in shown):
        width = sum(column.group == group for column in shown)
        spans.append(rf"\multicolumn{{{width}}}{{c}}{{{_tex(group)}}}")
        rules.append(rf"\cmidrule(lr){{{start}-{start + width - 1}}}")
        start += width
    headings = ["Row", *(_tex(column.heading) for column in shown)]
    return [" & ".join(spans) + r" \\", "".join(rules), " & ".join(headings) + r" \\"]


def _tex_cell(cell: Cell) -> str:
    detail = cell.detail if cell.detail.startswith("[") else ""
    return _tex(f"{cell.text} {detail}")


_TEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "[": "{[}",  # else LaTeX takes it for the option of the line break before it
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "±": r"$\pm$",
    MINUS: "$-$",
    "Δ": r"$\Delta$",
    **{character: "\\" + character for character in "&%$#_{}"},
}


def _tex(text: str) -> str:
    return "".join(_TEX.get(character, character) for character in " ".join(text.split()))
