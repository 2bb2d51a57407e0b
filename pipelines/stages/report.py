"""report: the table and the page, from every row's evaluation."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from pipelines.params.reader import Params
from pipelines.params.table import DerivedRow, Row
from t2t.reporting.collect import Ancestor, PaperFigures, RowInfo, ScaleInfo, collect
from t2t.reporting.page import write_report


def main(argv: Sequence[str]) -> None:
    """Reads every row and what the scale says of itself; writes the table and page into --out."""
    parser = argparse.ArgumentParser(prog="report", description=__doc__)
    parser.add_argument("--scale", required=True)
    parser.add_argument("--metrics", type=Path, required=True)
    parser.add_argument("--evaluations", type=Path, required=True)
    parser.add_argument("--curves", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args(argv)
    params = Params(Path("params.yaml"))
    rows = {
        name: _row_info(params.part(f"{section}.{name}", kind))
        for section, kind in (("rows", Row), ("derived", DerivedRow))
        for name in params.part(section, dict)
    }
    scale = ScaleInfo(
        args.scale,
        params.part(f"scales.{args.scale}.description", str),
        params.part(f"scales.{args.scale}.checks_claims", bool),
    )
    report = collect(
        rows,
        scale,
        metrics_dir=args.metrics,
        evaluations_dir=args.evaluations,
        curves_dir=args.curves,
    )
    write_report(report, args.out)


def _row_info(row: Row) -> RowInfo:
    paper = row.paper
    figures = None
    if paper is not None:
        figures = PaperFigures(
            table=str(paper.table),
            block=paper.block,
            top1_pct=paper.top1_pct,
            params_m=paper.params_m,
            macs_g=paper.macs_g,
            delta_pct=paper.delta_pct,
        )
    ancestor = Ancestor(row.needs, row.role) if isinstance(row, DerivedRow) else None
    return RowInfo(title=row.title, paper=figures, baseline=row.baseline, ancestor=ancestor)
