"""What a machine, not a run's configuration, says of training: numbers in environment variables."""

import os

from t2t.errors import EnvironmentProblem


def number_from(variable: str, least: int) -> int | None:
    """The whole number in an environment variable, None where that is unset or empty.

    Raises EnvironmentProblem for anything else, and for a number below `least`.
    """
    told = os.environ.get(variable, "")
    if not told:
        return None
    if not told.isdecimal() or int(told) < least:
        raise EnvironmentProblem(f"{variable} must be a number of at least {least}, not {told!r}")
    return int(told)
