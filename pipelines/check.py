"""Looks at the whole of params.yaml before anything runs: `python -m pipelines.check`."""

import re
import sys
from pathlib import Path

from pipelines.params.reader import NAME_PATTERN, Params
from pipelines.params.table import Row, Scale
from pipelines.params.training import resolve_recipe, row_seeds
from t2t.errors import T2TError

SECTIONS = ("scale", "scales", "recipe", "rows")


def check_params(path: Path) -> Params:
    """Validates every part of the file. Raises ConfigError for the first thing that is wrong."""
    params = Params(path)
    for section in params.tree:
        if section not in SECTIONS:
            known = ", ".join(SECTIONS)
            raise params.error(str(section), f"unknown section (known here: {known})")
    _check_names(params, "scales")
    _check_names(params, "rows")
    scale = params.part("scale", str)
    if scale not in params.part("scales", dict):
        raise params.error(
            "scale", f"{scale!r} is none of scales: {', '.join(params.tree['scales'])}"
        )
    for name in params.tree["scales"]:
        seeds = params.part(f"scales.{name}", Scale).seeds
        if len(set(seeds)) != len(seeds):
            raise params.error(f"scales.{name}.seeds", f"every seed stands once, got {seeds}")
        resolve_recipe(params, name)
    for name in params.tree["rows"]:
        _check_row(params, name)
    return params


def _check_names(params: Params, section: str) -> None:
    names = params.part(section, dict)
    if not names:
        raise params.error(section, "at least one is needed")
    for name in names:
        if not isinstance(name, str) or not re.match(NAME_PATTERN, name):
            raise params.error(
                f"{section}.{name}",
                f"a name is lower-case letters, digits, _ and - ({NAME_PATTERN})",
            )


def _check_row(params: Params, name: str) -> None:
    row = params.part(f"rows.{name}", Row)
    for scale in params.tree["scales"]:
        resolve_recipe(params, scale, name)
        row_seeds(params, scale, name)
    if row.baseline is not None and row.baseline not in params.tree["rows"]:
        known = ", ".join(params.tree["rows"])
        raise params.error(f"rows.{name}.baseline", f"{row.baseline!r} is no row (known: {known})")
    known = _backbones()
    if row.model.backbone not in known:
        raise params.error(
            f"rows.{name}.model.backbone",
            f"no backbone t2t/models/{row.model.backbone}.py (known: {', '.join(known)})",
        )


def _backbones() -> list[str]:
    """The files of t2t/models that hold networks, found without importing torch."""
    models = Path(__file__).parent.parent / "t2t" / "models"
    return sorted(p.stem for p in models.glob("*.py") if "\nVARIANTS" in p.read_text())


def main() -> int:
    """Checks ./params.yaml; prints one line and returns an exit code."""
    try:
        params = check_params(Path("params.yaml"))
    except T2TError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    print(f"params.yaml: {len(params.tree['rows'])} rows, scale {params.tree['scale']}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
