"""What a flow shows of itself on a page: its plan, and at the end the table with links."""

import csv
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_JOBS_SHOWN = 200


def plan_page(plan: Mapping[str, Any]) -> str:
    """A plan, as `FlowPlan.as_values` has it, in Markdown."""
    verdicts = ", ".join(f"{count} {verdict}" for verdict, count in plan["verdicts"].items())
    lines = [
        f"Scale **{plan['scale']}**, commit `{(plan['commit'] or 'none')[:12]}`: {verdicts}.",
        f"At most {plan['expected_minutes']:.1f} min on {plan['gpus']} GPUs and "
        f"{plan['places']} places, as far as known.",
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
    """The ablation table of the last report at `scale`; empty where there is none."""
    path = root / "reports" / scale / "table.csv"
    if not path.is_file():
        return []
    with open(path, encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def result_page(root: Path, scale: str, folder: Path) -> str:
    """Where the results are: report, MLflow's runs, the flow's journal and logs."""
    lines = [f"- Journal and logs: `{folder}`"]
    report = root / "reports" / scale / "index.html"
    if report.is_file():
        lines.insert(0, f"- Report: [{report.name}]({report.resolve().as_uri()})")
    uri = os.environ.get("MLFLOW_TRACKING_URI", "")
    if uri.startswith(("http://", "https://")):
        # MLflow takes seconds to import.
        from t2t.tracking.delivery import public_uri

        uri = public_uri(uri)
        lines.append(f"- Runs in MLflow: [{uri}]({uri}/#/experiments)")
    return "\n".join(lines)
