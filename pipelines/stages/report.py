"""report: the tables, the claims and the page, from the results of every row."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from pipelines.params.asked import (
    asked_analyses,
    asked_claims,
    asked_rows,
    asked_scale,
    asked_tables,
    asked_transfers,
)
from pipelines.params.reader import Params
from t2t.reporting.collect import collect
from t2t.reporting.page import write_report


def main(argv: Sequence[str]) -> None:
    """Reads every row and claim, and the results of --scale in the folder --results; writes the
    tables and the page beside them."""
    parser = argparse.ArgumentParser(prog="report", description=__doc__)
    parser.add_argument("--scale", required=True)
    parser.add_argument("--results", type=Path, required=True)
    args = parser.parse_args(argv)
    params = Params(Path("params.yaml"))
    report = collect(
        asked_rows(params, args.scale),
        asked_scale(params, args.scale),
        args.results,
        tables=asked_tables(params),
        claims=asked_claims(params),
        transfers=asked_transfers(params),
        analyses=asked_analyses(params),
    )
    write_report(report, args.results)
