"""dvc.lock as text: entries of single stages, written without parsing those of all the others.

DVC reads and writes the whole file anew for each stage, seconds of work under its lock once a
graph has a hundred stages. An entry's bytes do not depend on its neighbours, so one can be
replaced alone; `pipelines.keeper` has DVC's own serializer confirm the result at the end.
"""

import re
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from ruamel.yaml import YAML, YAMLError

from t2t.errors import ConfigError
from t2t.files import commit, partial_path

LOCK_FILE = "dvc.lock"
# DVC writes hundreds of stages in some seconds, and more where the machine is busy.
_WRITING_S, _PAUSE_S = 15.0, 0.5
HEAD = "schema: '2.0'\nstages:\n"
_NAME = re.compile(r"^  (?! )(.+):\n", re.MULTILINE)


def entries_of(text: str) -> dict[str, str]:
    """The text of each stage's entry by the name of the stage, in the order of the file.

    Raises ValueError for what DVC's serializer has not written.
    """
    if not text:
        return {}
    head, stages, body = text.partition("stages:\n")
    if head != HEAD.partition("stages:\n")[0] or not stages:
        raise ValueError("dvc.lock does not begin as DVC's version 2.0 does")
    starts = list(_NAME.finditer(body))
    if body and (not starts or starts[0].start() != 0):
        raise ValueError("dvc.lock holds something else than stages")
    ends = [*(start.start() for start in starts), len(body)][1:]
    return {
        start.group(1).strip("'\""): body[start.start() : end]
        for start, end in zip(starts, ends, strict=True)
    }


def text_of(entries: Mapping[str, str]) -> str:
    """The whole file of these entries."""
    return HEAD + "".join(entries.values())


def in_order(entries: Mapping[str, str], first: Sequence[str], then: Sequence[str]) -> list[str]:
    """The names of `entries`: those of `first`, then those of `then`, then what is in neither.

    first: as an earlier dvc.lock had them, where a serial `dvc repro` leaves them; then: the order
    of the graph, in which it appends the others.
    """
    wanted = dict.fromkeys([*first, *then, *entries])
    return [name for name in wanted if name in entries]


class LockFile:
    """dvc.lock in the folder `root`: read anew each time, for others write it too, and whole at
    any time."""

    def __init__(self, root: Path):
        self._path = root / LOCK_FILE

    def entries(self) -> dict[str, str]:
        """As `entries_of`, none where there is no file. Raises ConfigError for a foreign one."""
        text = self._path.read_text(encoding="utf-8") if self._path.exists() else ""
        try:
            return entries_of(text)
        except ValueError as error:
            raise ConfigError(f"{error}; run `dvc repro` once to have it written anew") from None

    def take(self, entries: Mapping[str, str]) -> None:
        """Replaces these entries, or appends them."""
        if entries:
            self.write(text_of(self.entries() | dict(entries)))

    def write(self, text: str) -> None:
        """Replaces the file, where it differs."""
        if self._path.exists() and self._path.read_text(encoding="utf-8") == text:
            return
        partial = partial_path(self._path)
        partial.write_text(text, encoding="utf-8")
        commit(partial, self._path)


def check_lock(root: Path) -> str:
    """Whether DVC can read dvc.lock in `root`: nothing where it can or there is none, else what has
    been done about it.

    DVC writes it in place: a full disk or a power cut may leave it empty or cut off. Deletes an
    empty one of which git has no better copy, for it holds nothing; raises ConfigError, with the
    remedy, for every other one that DVC would stumble over.
    """
    path = root / LOCK_FILE
    found = _settled(path)
    if found is None or _is_readable(found):
        return ""
    is_empty = not found.strip(b"\0 \t\r\n")
    what = "empty" if is_empty else "damaged: no file of stages as DVC writes it"
    if _size_in_git(root) > 0:
        raise ConfigError(
            f"{LOCK_FILE} is {what} (was the disk full?); `git checkout {LOCK_FILE}` brings back "
            "the last one that git has"
        )
    if not is_empty:
        raise ConfigError(
            f"{LOCK_FILE} is {what} (was the disk full?), and git has none; delete it: `dvc repro` "
            "writes it anew, from what the cache has"
        )
    path.unlink()
    return f"{LOCK_FILE} was empty (was the disk full?) and is deleted: `dvc repro` writes it anew"


def _settled(path: Path) -> bytes | None:
    """What the file holds, None where there is none. One that cannot be read may be what another
    DVC is writing at this moment, and is given time to become whole."""
    give_up_at = time.monotonic() + _WRITING_S
    while path.exists():
        found = path.read_bytes()
        if _is_readable(found) or time.monotonic() > give_up_at:
            return found
        time.sleep(_PAUSE_S)
    return None


def _is_readable(found: bytes) -> bool:
    try:
        tree = YAML(typ="safe").load(found.decode())
    except (UnicodeDecodeError, YAMLError):
        return False
    stages = tree.get("stages", {}) if isinstance(tree, dict) and "schema" in tree else None
    return isinstance(stages, dict) and all(
        isinstance(entry, dict) and "cmd" in entry for entry in stages.values()
    )


def _size_in_git(root: Path) -> int:
    """Of what `git checkout` would bring back; 0 where git has nothing."""
    asked = ["git", "cat-file", "-s", f":./{LOCK_FILE}"]
    done = subprocess.run(asked, cwd=root, capture_output=True, text=True, check=False)
    return int(done.stdout) if done.returncode == 0 else 0
