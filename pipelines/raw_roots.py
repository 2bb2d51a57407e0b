"""Where the stages look for raw data sets: the one place that reads T2T_DATA_ROOT."""

import os
from pathlib import Path

from t2t.data.sources.roots import Roots
from t2t.errors import EnvironmentProblem

VARIABLE = "T2T_DATA_ROOT"


def raw_roots(downloads: Path | None) -> Roots:
    """The folder that T2T_DATA_ROOT names, which is only read, then the project's `downloads`.

    Raises EnvironmentProblem where the variable names no folder.
    """
    shared = os.environ.get(VARIABLE)
    if shared and not Path(shared).is_dir():
        raise EnvironmentProblem(
            f"{VARIABLE} is {shared!r}, which is no folder; let it name the folder that holds the "
            "raw data sets, or unset it"
        )
    return Roots(downloads=downloads, shared=Path(shared) if shared else None)
