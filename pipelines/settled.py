"""Asks whether the cache has all that dvc.lock says: `python -m pipelines.settled`.

For the time after `dvc repro`. Where the disk is full DVC says "failed to transfer" of files in a
folder, writes dvc.lock all the same and ends with 0; the next checkout would find them lost.
"""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from pipelines.keeper import Keeper
from t2t.errors import EnvironmentProblem, T2TError

_NAMED = 5


def check_settled(root: Path) -> None:
    """Raises EnvironmentProblem, with what helps, where the cache lacks what a stage of dvc.lock in
    `root`, which must be the working directory, has made. An input that was edited meanwhile is no
    concern of this.
    """
    keeper = Keeper(root)
    try:
        lost = keeper.lost(keeper.recorded())
    finally:
        keeper.close()
    if lost:
        raise EnvironmentProblem(_told(lost))


def _told(lost: Mapping[str, Sequence[str]]) -> str:
    stages = [f"{name} ({', '.join(outs)})" for name, outs in lost.items()]
    more = f" and {len(stages) - _NAMED} more" if len(stages) > _NAMED else ""
    return (
        f"the cache lacks parts of what dvc.lock has: {', '.join(stages[:_NAMED])}{more}; is the "
        "disk full? free some space and run `make repro` again, which makes them anew"
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
