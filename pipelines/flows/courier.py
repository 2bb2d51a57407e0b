"""Carries the checkpoints of a stage to a place that all workers reach, and back.

T2T_CHECKPOINTS names it: a folder, or a URL that fsspec knows (s3://bucket/checkpoints). Below it
each stage has a folder named by the digest of its command and inputs, so that none resumes what it
did not begin. Training itself works on its own disk, with its locks and renames.
"""

import contextlib
import math
import posixpath
import re
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath

import fsspec

from pipelines.remote import RemoteAway, patiently, reaching
from t2t.files import partial_path

VARIABLE = "T2T_CHECKPOINTS"
_EVERY_S = 5.0
_LOCK, _RESULT = "lock", "result/seal.json"
_CHECKPOINT = re.compile(r"step_(\d+).*\.pt$")
# Each store has errors of its own for a network that is down; those of S3 are no OSError.
_AWAY = Exception


class Courier:
    """Between `folder`, where trainings work here, and the place of one stage below `url`."""

    def __init__(self, url: str, digest: str, folder: Path):
        self._fs, place = fsspec.core.url_to_fs(url)
        self._place = posixpath.join(place, digest)
        self._folder = folder
        # Not the time: the clock may be set back, and a shared disk has one of its own.
        self._at_start = {workspace: _versions(workspace) for workspace in self._workspaces()}
        self._sent: dict[Path, tuple[int, int]] = {}

    def fetch(self) -> int:
        """Brings what earlier workers left, as far as it is not here; how many files.

        Of a training that has come further there than here everything is brought, in the place of
        what is here: a checkpoint needs the journal of the way to it.
        Raises RemoteAway where the place does not answer, EnvironmentProblem where there is no
        room for them here.
        """
        try:
            with reaching(f"{VARIABLE}, {self._place},"):
                return self._fetch()
        except FileNotFoundError as error:  # replaced by a newer one since it was listed
            raise RemoteAway(f"{VARIABLE}, {self._place}: {error}") from error

    def _fetch(self) -> int:
        if not self._fs.exists(self._place):
            return 0
        there = self._there()
        wanted = {path for path in there if not path.exists()}
        for workspace in {self._workspace(path) for path in there}:
            of_it = {path for path in there if workspace in path.parents}
            if _reached(of_it) > _reached(workspace.rglob("*")):
                wanted |= of_it
        for path in sorted(wanted, key=_rank):
            path.parent.mkdir(parents=True, exist_ok=True)
            partial = partial_path(path)
            self._fs.get_file(there[path], str(partial))
            partial.rename(path)
        return len(wanted)

    def send(self) -> None:
        """Sends what has changed since the last time, of the workspaces in use since the start.

        The journal before the checkpoints, and at least as new: one that knows less would lose
        epochs, for whoever comes next, at any moment at which this worker may die.
        """
        for workspace in self._in_use():
            found = _versions(workspace)
            files = {path: version for path, version in found.items() if _travels(path)}
            new = [path for path, version in files.items() if self._sent.get(path) != version]
            for path in sorted(new, key=_rank):
                with contextlib.suppress(FileNotFoundError):  # an old checkpoint, deleted since
                    self._send(path)
                    self._sent[path] = files[path]
            for gone in [path for path in self._sent if workspace in path.parents]:
                if gone not in files:
                    del self._sent[gone]
                    with contextlib.suppress(FileNotFoundError):
                        self._fs.rm_file(self._target(gone))

    def forget(self) -> None:
        """Deletes what lies there: the stage is made."""
        with contextlib.suppress(FileNotFoundError):
            self._fs.rm(self._place, recursive=True)

    def _there(self) -> dict[Path, str]:
        """The files of the place, by where they are to lie here."""
        place = self._fs._strip_protocol(self._place)
        return {
            self._folder / PurePosixPath(source).relative_to(place): source
            for source in self._fs.find(self._place)
            if not source.endswith(".partial")
        }

    def _workspace(self, path: Path) -> Path:
        return self._folder / path.relative_to(self._folder).parts[0]

    def _workspaces(self) -> list[Path]:
        return [folder for folder in self._folder.glob("*") if folder.is_dir()]

    def _in_use(self) -> list[Path]:
        """Those in which something was written, brought or deleted since the start."""
        return [
            folder
            for folder in self._workspaces()
            if _versions(folder) != self._at_start.get(folder, {})
        ]

    def _send(self, path: Path) -> None:
        target = self._target(path)
        self._fs.makedirs(posixpath.dirname(target), exist_ok=True)
        self._fs.put_file(str(path), f"{target}.partial")
        self._fs.mv(f"{target}.partial", target)

    def _target(self, path: Path) -> str:
        return posixpath.join(self._place, path.relative_to(self._folder).as_posix())


@contextlib.contextmanager
def carried(
    environment: Mapping[str, str],
    digest: str,
    folder: Path,
    is_to_stop: Callable[[], bool] = lambda: False,
) -> Iterator[None]:
    """Fetches the stage's checkpoints before the block, sends them while it runs and at its end.

    Does nothing where T2T_CHECKPOINTS is not set. A place that is away at the beginning is waited
    for, as what lies there may be days of work; raises RemoteAway where that is in vain. What
    cannot be sent later is tried again, and costs a resume at most, not the training.
    """
    url = environment.get(VARIABLE, "")
    if not url:
        yield
        return
    courier = Courier(url, digest, folder)
    patiently(courier.fetch, is_to_stop)
    done = threading.Event()

    def work() -> None:
        while not done.wait(_EVERY_S):
            with contextlib.suppress(_AWAY):
                courier.send()

    thread = threading.Thread(target=work, name="checkpoints")
    thread.start()
    try:
        yield
    except BaseException:
        _last(courier.send, done, thread)
        raise
    _last(courier.forget, done, thread)


def _last(act, done: threading.Event, thread: threading.Thread) -> None:
    done.set()
    thread.join()
    with contextlib.suppress(_AWAY):
        act()


def _rank(path: Path) -> int:
    """The order in which files travel: a checkpoint and a result's seal after what they need."""
    return 2 if path.match(_RESULT) else 1 if _CHECKPOINT.match(path.name) else 0


def _reached(files: Iterable[Path]) -> float:
    """How far a training has come: the step of its newest checkpoint, beyond all with a result."""
    reached = -1.0
    for path in files:
        if path.match(_RESULT):
            return math.inf
        if match := _CHECKPOINT.match(path.name):
            reached = max(reached, int(match[1]))
    return reached


def _travels(path: Path) -> bool:
    return path.name != _LOCK and not path.name.startswith(".")


def _versions(folder: Path) -> dict[Path, tuple[int, int]]:
    """What tells each of the files below from an older or newer one of its name."""
    found = {}
    for path in folder.rglob("*"):
        with contextlib.suppress(FileNotFoundError):  # deleted since it was listed
            if path.is_file():
                found[path] = _version(path)
    return found


def _version(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_size, status.st_mtime_ns
