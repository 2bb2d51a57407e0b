"""What people want to read beside a run in MLflow, as tags by row or transfer."""

from pipelines.params.reader import Params
from pipelines.params.table import DerivedRow, ReleasedRow, Row, Transfer


def row_labels(params: Params) -> dict[str, dict[str, str]]:
    """By row: its title, the row it is compared with, and where the paper prints what figures.

    A transfer is compared with none, and of it the paper prints top-1 alone.
    """
    labels = {}
    for section, kind in (("rows", Row), ("derived", DerivedRow), ("released", ReleasedRow)):
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
    for name in params.part("transfers", dict):
        transfer = params.part(f"transfers.{name}", Transfer)
        labels[name] = {"title": transfer.title, "baseline": "none"}
        if transfer.paper is not None:
            labels[name] |= {
                "paper_table": f"Table {transfer.paper.table}",
                "paper_top1_pct": f"{transfer.paper.top1_pct:.1f}",
            }
    return labels
