"""Puts the digits table into README.md: `python scripts/readme_table.py`."""

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BEGIN = "<!-- table: written by `make readme` from reports/digits/table.md -->\n"
END = "<!-- end of table -->\n"


def with_table(readme: str, table: str) -> str:
    """`readme` with `table` between its two marks. Raises ValueError where a mark is missing."""
    before, begin, rest = readme.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"README.md has lost its marks {BEGIN.strip()} and {END.strip()}")
    return f"{before}{BEGIN}\n{table}\n{END}{after}"


if __name__ == "__main__":
    readme = ROOT / "README.md"
    table = (ROOT / "reports" / "digits" / "table.md").read_text(encoding="utf-8")
    readme.write_text(with_table(readme.read_text(encoding="utf-8"), table), encoding="utf-8")
