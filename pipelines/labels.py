"""What people want to read beside a run in MLflow, as tags by row."""

from pipelines.params.reader import Params
from pipelines.params.table import DerivedRow, Row


def row_labels(params: Params) -> dict[str, dict[str, str]]:
    """By row: its title, the row it is compared with, and where the paper prints what figures."""
    labels = {}
    for section, kind in (("rows", Row), ("derived", DerivedRow)):
        for name in params.part(section, dict):
            row = params.part(f"{section}.{name}", kind)
            labels[name] = {"title": row.title, "baseline": row.baseline or "none"}
            if row.paper is not None:
                labels[name] |= {
                    "paper_table": f"Table {row.paper.table}, {row.paper.block}",
                    "paper_top1_pct": f"{row.paper.top1_pct:.1f}",
                    "paper_params_m": f"{row.paper.params_m:g}",
                    "paper_macs_g": f"{row.paper.macs_g:g}",
                }
    return labels
