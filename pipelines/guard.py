"""Finds out whether an input of a stage changed while the stage ran.

DVC records the hashes its inputs have after the command, so an edit in between would be written
down as what the outputs were made from (treeverse/dvc#11058). The runner compares before and after.
"""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

from pipelines.graph import StageInputs
from pipelines.params.reader import Params
from t2t.errors import EnvironmentProblem

# Beyond this a file is data, and its size, time and inode are compared instead of its content.
_HASHED_BYTES = 4 << 20


class InputGuard:
    """The state of a stage's inputs at one moment."""

    def __init__(self, root: Path, inputs: StageInputs):
        self._root, self._inputs = root, inputs
        self._before = self._state()

    def _state(self) -> dict[str, str]:
        state = {}
        for declared in self._inputs.paths:
            for path in _files(declared):
                state[str(path.relative_to(self._root))] = _fingerprint(path)
        if self._inputs.param_keys:
            params = Params(self._root / "params.yaml")
            for key in self._inputs.param_keys:
                state[f"params.yaml: {key}"] = json.dumps(params.value(key), sort_keys=True)
        return state

    def verify(self) -> None:
        """Raises EnvironmentProblem naming what is not as it was when the guard was made."""
        after = self._state()
        changed = sorted(
            key
            for key in self._before.keys() | after.keys()
            if self._before.get(key) != after.get(key)
        )
        if changed:
            raise EnvironmentProblem(
                f"{', '.join(changed)} changed while this stage ran, so its outputs are of neither "
                "the old nor the new; run `dvc repro` again"
            )


def _files(path: Path) -> Iterator[Path]:
    if path.is_file():
        yield path
    elif path.is_dir():
        for child in sorted(path.rglob("*")):
            if child.is_file() and "__pycache__" not in child.parts:
                yield child


def _fingerprint(path: Path) -> str:
    status = path.stat()
    if status.st_size > _HASHED_BYTES:
        return f"{status.st_size} {status.st_mtime_ns} {status.st_ino}"
    return hashlib.sha256(path.read_bytes()).hexdigest()
