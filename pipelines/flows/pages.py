"""What a flow shows of itself on a page: its plan, and at the end the table with links."""

import csv
import os
import urllib.parse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from t2t.tracking.view import VIEW_QUERY

_JOBS_SHOWN = 200
# What the page calls them, and how figures are printed.
_COLUMNS = {
    "title": ("Row", ""),
    "top1_pct": ("Top-1, %: ours", ".2f"),
    "paper_top1_pct": ("Paper", ".1f"),
    "delta_pct": ("Δ, points: ours", "+.2f"),
    "paper_delta_pct": ("Δ: paper", "+.1f"),
    "seeds": ("Seeds", ""),
    "params_m": ("Parameters, M", ".3g"),
    "macs_g": ("MACs, G", ".3g"),
}


def plan_page(plan: Mapping[str, Any]) -> str:
    """A plan, as `FlowPlan.as_values` has it, in Markdown."""
    verdicts = ", ".join(f"{count} {verdict}" for verdict, count in plan["verdicts"].items())
    lines = [
        f"Scale **{plan['scale']}**, commit `{(plan['commit'] or 'none')[:12]}`: {verdicts}.",
        f"{plan['expected']}.",
    ]
    if plan["uncommitted"]:
        lines.append(f"Not in the commit: {', '.join(plan['uncommitted'])}")
    lines.append("| Stage | GPUs | Minutes | Why |\n|:--|--:|--:|:--|")
    lines[-1] += "".join(
        f"\n| {job['stage']} | {job['gpus']} | {job['minutes']:.2g} | {'; '.join(job['why'][:3])} |"
        for job in plan["jobs"][:_JOBS_SHOWN]
    )
    return "\n\n".join(lines)


def result_rows(root: Path, scale: str) -> list[dict[str, str]]:
    """The ablation table of the last report at `scale`, as people read it; empty where there is
    none."""
    return [
        {
            heading: _as_read(row.get(column, ""), form)
            for column, (heading, form) in _COLUMNS.items()
        }
        for row in _table(root, scale)
    ]


def result_page(root: Path, scale: str, folder: Path) -> str:
    """Where the results are: report, MLflow's runs, the flow's journal and logs."""
    lines = [f"- Journal and logs: `{folder}`"]
    report = root / "reports" / scale / "index.html"
    if report.is_file():
        # No link: a browser follows none from a server's page to a file.
        lines.insert(0, f"- Report: `{report.resolve()}`")
    uri = os.environ.get("MLFLOW_TRACKING_URI", "").rstrip("/")
    if uri.startswith(("http://", "https://")):
        # It brings torch, which takes seconds to import.
        from t2t.tracking.delivery import public_uri
        from t2t.tracking.server import experiment_told

        experiment = experiment_told(uri, scale)
        uri = public_uri(uri)
        if experiment is None:
            return "\n".join([*lines, f"- Runs in MLflow: [{uri}]({uri}/#/experiments)"])
        runs = f"{uri}/#/experiments/{experiment}/runs"
        lines.append(f"- Runs in MLflow: [all of scale {scale}]({runs}{VIEW_QUERY}), or of a row:")
        for row in _table(root, scale):
            query = urllib.parse.quote(f"tags.row = '{row['row']}'")
            lines.append(f"    - [{row['title']}]({runs}?searchFilter={query})")
    return "\n".join(lines)


def _table(root: Path, scale: str) -> list[dict[str, str]]:
    path = root / "reports" / scale / "table.csv"
    if not path.is_file():
        return []
    with open(path, encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def _as_read(value: str, form: str) -> str:
    return format(float(value), form) if form and value else value
