"""The folder a run works in: locked by one trainer at a time, never shared by two configurations.

It is named by a digest of everything that decides the result, so that a changed configuration,
shard or line of code can never resume what it did not begin.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, TextIO

from t2t.errors import CheckpointError, EnvironmentProblem
from t2t.files import fsync_path, sha256_file, write_json

RESULT = "result"
# Another version of one of them may give other weights from the same configuration.
_LIBRARIES = ("numpy", "pillow", "timm", "torch", "torchvision")
RUN_FILES = frozenset({"config.json", "ema.safetensors", "raw.safetensors", "metrics.jsonl"})
# Whoever only looks whether a run is under way holds its lock for a moment.
LOCK_PATIENCE_S = 1.0
# Of each file of a finished run the SHA-256; it goes wherever these files go.
RUN_SEAL = "seal.json"


def run_digest(
    config: Mapping[str, Any], shards: Mapping[str, str], code: Mapping[str, str]
) -> str:
    """Digest of a resolved configuration, the shards' and the code files' hashes, and the versions
    of the libraries that make networks and pixels."""
    versions = {name: version(name) for name in _LIBRARIES}
    content = {"config": config, "shards": shards, "code": code, "libraries": versions}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def workspace_of(workspaces: Path, digest: str) -> Path:
    """The folder in which the run with this digest works."""
    return workspaces / digest[:32]


@contextlib.contextmanager
def sole_owner(folder: Path) -> Iterator[None]:
    """Holds `folder` for this process. Raises EnvironmentProblem where another one holds it."""
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "lock", "a+", encoding="utf-8") as stream:
        if not _locked_within(stream, LOCK_PATIENCE_S):
            stream.seek(0)
            owner = stream.read().strip() or "unknown"
            raise EnvironmentProblem(
                f"{folder}: process {owner} is training this run already; wait for it or stop it"
            )
        stream.truncate(0)
        stream.write(str(os.getpid()))
        stream.flush()
        yield


def _locked_within(stream: TextIO, patience_s: float) -> bool:
    give_up_at = time.monotonic() + patience_s
    while True:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if time.monotonic() > give_up_at:
                return False
            time.sleep(0.05)


def seal_result(folder: Path, partial: Path) -> None:
    """Makes the finished files in `partial` the result of the run in `folder`."""
    hashes = {path.name: sha256_file(path) for path in sorted(partial.iterdir())}
    write_json(partial / RUN_SEAL, hashes)
    for path in partial.iterdir():
        fsync_path(path)
    shutil.rmtree(folder / RESULT, ignore_errors=True)
    os.replace(partial, folder / RESULT)
    fsync_path(folder)


def is_finished(folder: Path) -> bool:
    """Whether the run in `folder` has a result."""
    return (folder / RESULT / RUN_SEAL).is_file()


def publish_result(folder: Path, out: Path) -> None:
    """Copies a finished run's files to `out`. Raises CheckpointError for a damaged one."""
    names = check_run(folder / RESULT, f"delete {folder} to train this run again")
    out.mkdir(parents=True, exist_ok=True)
    for name in (*names, RUN_SEAL):
        shutil.copyfile(folder / RESULT / name, out / name)


def check_run(run: Path, remedy: str = "train that row again") -> tuple[str, ...]:
    """Compares a finished run's files, wherever they were put, with its seal; returns their names.

    Raises CheckpointError, ending in `remedy`, for a file that is missing or not what training
    wrote: damaged, or another run's.
    """
    path = run / RUN_SEAL
    try:
        hashes = dict(json.loads(path.read_text()))
    except (OSError, ValueError, TypeError) as error:
        raise CheckpointError(f"{path}: unreadable ({error}); {remedy}") from None
    for name in sorted(RUN_FILES | hashes.keys()):
        file = run / name
        if not file.is_file() or name not in hashes or sha256_file(file) != hashes[name]:
            raise CheckpointError(f"{file}: damaged, it is not what {path} says; {remedy}")
    return tuple(hashes)
