"""Asks whether the cache has all that dvc.lock says: `python -m pipelines.settled`.

For the time after `dvc repro`. Where the disk is full DVC says "failed to transfer" of files in a
folder, writes dvc.lock all the same and ends with 0; the next checkout would find them lost.
"""

import sys
from collections.abc import Mapping
from pathlib import Path

from pipelines.keeper import Keeper
from t2t.errors import EnvironmentProblem, T2TError

_NAMED = 5


def check_settled(root: Path) -> int:
    """How many stages dvc.lock in `root` has, which must be the working directory.

    Raises EnvironmentProblem, with what helps, where one of them is not as dvc.lock and the cache
    have to hold it.
    """
    keeper = Keeper(root)
    try:
        names = keeper.recorded()
        unsettled = keeper.unsettled(names)
    finally:
        keeper.close()
    if unsettled:
        raise EnvironmentProblem(_told(unsettled))
    return len(names)


def _told(unsettled: Mapping[str, str]) -> str:
    stages = [f"{name} ({problem})" for name, problem in unsettled.items()]
    more = f" and {len(stages) - _NAMED} more" if len(stages) > _NAMED else ""
    return (
        f"dvc.lock has what is not there: {', '.join(stages[:_NAMED])}{more}; is the disk full? "
        "free some space and run `make repro` again, which makes them anew (`dvc commit` before "
        "it keeps what they have left in the workspace)"
    )


def main() -> int:
    """Prints nothing where all is well, else one line; returns an exit code."""
    try:
        check_settled(Path.cwd())
    except T2TError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
