"""Prints the table of the present scale and where its page lies: `python -m pipelines.show`."""

import sys
from pathlib import Path

from pipelines.params.reader import Params
from t2t.errors import T2TError


def main() -> int:
    """Shows what the last `dvc repro` made."""
    try:
        reports = Path("reports") / Params(Path("params.yaml")).part("scale", str)
    except T2TError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    table = reports / "table.md"
    if not table.is_file():
        print(f"{table} is not there yet: run `dvc repro`", file=sys.stderr)
        return 1
    print(table.read_text(encoding="utf-8"))
    print(f"Report: {(reports / 'index.html').resolve().as_uri()}")
    print("Runs:   make ui, then http://127.0.0.1:5000")
    return 0


if __name__ == "__main__":
    sys.exit(main())
