"""The DVC remote as the place where a coordinator and its workers meet: they share no other disk.

What a stage made lies there as DVC's run cache has it, under a digest of the stage's command and
inputs. Whoever has the same inputs finds it, whatever anyone says of who ran what and how it ended.
"""

import contextlib
import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any, TypeVar

from dvc.exceptions import DvcException
from dvc.stage.cache import _can_hash, _get_stage_hash
from dvc.stage.serialize import to_single_stage_lockfile
from dvc.utils.serialize import parse_yaml

from pipelines.keeper import Keeper
from pipelines.lock_file import HEAD, LOCK_FILE
from pipelines.room import full_disk_told
from t2t.errors import ConfigError, EnvironmentProblem

PATIENCE_S = 600.0
_PAUSE_S = 5.0
_NOTES, _PARTIAL = "flows", ".partial"
_Answer = TypeVar("_Answer")


class RemoteAway(EnvironmentProblem):
    """The DVC remote, or the place of checkpoints, does not answer, and may soon."""


def patiently(
    call: Callable[[], _Answer], is_to_stop: Callable[[], bool], patience_s: float = PATIENCE_S
) -> _Answer:
    """What `call` answers, asked again for a while as long as the remote is away.

    Raises RemoteAway after `patience_s`, or where it is still away once `is_to_stop`.
    """
    give_up_at, is_said = time.monotonic() + patience_s, False
    while True:
        try:
            return call()
        except RemoteAway as error:
            if is_to_stop() or time.monotonic() > give_up_at:
                raise
            if not is_said:
                print(f"{error}; asked again", file=sys.stderr, flush=True)
            is_said = True
            time.sleep(_PAUSE_S)


class Exchange:
    """`keeper`'s workspace and the default remote of its DVC configuration.

    What reaches out to it raises RemoteAway where it does not answer.
    """

    def __init__(self, keeper: Keeper):
        self._keeper, self._repo = keeper, keeper.repo
        with keeper.held():
            if not self._repo.config["core"].get("remote"):
                raise ConfigError(
                    "DVC has no default remote, through which workers would get their inputs and "
                    "hand in results: `dvc remote add --default NAME URL`"
                )
            self._odb = self._repo.cloud.get_remote_odb(None, "push", "md5-dos2unix")

    def digest(self, name: str) -> str:
        """Of the stage's command and its present inputs: what a result of it is found under."""
        with self._keeper.held():
            stage = self._keeper.stage(name)
            stage.save_deps()
            if not _can_hash(stage):
                raise EnvironmentProblem(f"{name} has no inputs or outputs that DVC could compare")
            return str(_get_stage_hash(stage))

    def upstream_entries(self, name: str) -> dict[str, str]:
        """dvc.lock's entries, as text, of the stages whose outputs the stage reads."""
        entries = self._keeper.lock_file.entries()
        return {above: entries[above] for above in self._keeper.upstream(name)}

    def provide(self, entries: Mapping[str, str]) -> None:
        """Brings the outputs of these stages into the workspace, and the entries into dvc.lock.

        Raises EnvironmentProblem where the remote lacks parts of them.
        """
        with self._keeper.held():
            for name, text in entries.items():
                content = parse_yaml(f"{HEAD}{text}", LOCK_FILE)["stages"][name]
                if not self._bring(content):
                    raise EnvironmentProblem(f"the remote lacks outputs of {name}: `dvc push`")
                self._repo.stage_cache._create_stage(content).checkout(force=True)
            self._keeper.lock_file.take(entries)

    def publish(self, name: str) -> None:
        """Puts the outputs of a stage that dvc.lock holds onto the remote, then its run cache.

        Outputs that git keeps travel too, which `dvc push` would leave behind.
        """
        with self._keeper.held():
            stage = self._keeper.stage(name)
            self._repo.stage_cache.save(stage)
            content = to_single_stage_lockfile(stage)
            copy = self._repo.stage_cache._create_stage(content, wdir=stage.wdir)
            for objects in copy.get_used_objs().values():
                with reaching():
                    failed = self._repo.cloud.push(objects).failed
                if failed:
                    raise RemoteAway(f"the DVC remote did not take {len(failed)} objects")
            # Last, so that a result that is found is whole.
            digest = str(_get_stage_hash(stage))
            ours = self._repo.cache.legacy
            for file in ours.fs.find(self._runs(ours, digest)):
                path = f"{self._runs(self._odb, digest)}/{PurePosixPath(file).name}"
                self._put(path, ours.fs.cat_file(file))

    def fetch(self, digest: str) -> bool:
        """Brings a result from the remote into DVC's cache; False where there is none, or parts
        of it are missing."""
        folder = self._runs(self._odb, digest)
        # S3's file system keeps a listing for good, others' files that came since are none to it.
        self._odb.fs.fs.invalidate_cache(folder)
        with reaching():
            # In a list: what DVC gives asks the remote only as it is gone through.
            found = list(self._odb.fs.find(folder))
        found = [path for path in found if not path.endswith(_PARTIAL)]
        if not found:  # as nearly always; nobody is to wait for DVC's turn then
            return False
        with self._keeper.held():
            for file in found:
                try:
                    with reaching():
                        text = self._odb.fs.cat_file(file)
                except FileNotFoundError:  # gone since
                    continue
                content = _entry_of(text)
                if content and self._bring(content):
                    ours = self._repo.cache.legacy
                    path = f"{self._runs(ours, digest)}/{PurePosixPath(file).name}"
                    ours.fs.makedirs(ours.fs.parent(path), exist_ok=True)
                    ours.fs.pipe_file(path, text)
                    return True
        return False

    def read_note(self, name: str) -> dict[str, Any] | None:
        """What was last left under `name`, None where nothing was, or a part of it is there."""
        try:
            with reaching():
                text = self._odb.fs.cat_file(self._note(name))
            return dict(json.loads(text))
        except (FileNotFoundError, ValueError, TypeError):
            return None

    def write_note(self, name: str, content: Mapping[str, Any]) -> None:
        """Leaves a small note for the others under `name`."""
        self._put(self._note(name), json.dumps(content).encode())

    def _bring(self, content: Mapping[str, Any]) -> bool:
        copy = self._repo.stage_cache._create_stage(dict(content))
        for objects in copy.get_used_objs().values():
            # A folder's list of files first: what it names is not known before.
            with reaching():
                self._repo.cloud.pull(objects)
        for objects in copy.get_used_objs().values():
            with reaching():
                self._repo.cloud.pull(objects)
        return copy.outs_cached()

    def _put(self, path: str, content: bytes) -> None:
        fs = self._odb.fs
        # Whoever reads it meanwhile gets the old or the new one: a rename, or the store's own way.
        partial = f"{path}{_PARTIAL}"
        with reaching():
            fs.makedirs(fs.parent(path), exist_ok=True)
            fs.pipe_file(partial, content)
            fs.move(partial, path)

    def _runs(self, odb: Any, digest: str) -> str:
        return odb.fs.join(odb.path, "runs", digest[:2], digest)

    def _note(self, name: str) -> str:
        return self._odb.fs.join(self._odb.path, _NOTES, f"{name}.json")


def _entry_of(text: bytes) -> Mapping[str, Any]:
    """An entry of the run cache; none for a damaged one, which DVC passes over, too."""
    try:
        content = parse_yaml(text.decode(), "entry")
    except (DvcException, UnicodeDecodeError):
        return {}
    whole = isinstance(content, dict) and {"cmd", "outs"} <= content.keys()
    return content if whole else {}


@contextlib.contextmanager
def reaching(place: str = "the DVC remote") -> Iterator[None]:
    """Makes RemoteAway of what a place raises that is away.

    Each kind of remote has errors of its own for a network that is down, OSError or not. What is
    not there, DVC's own errors and this computer's full disk stay what they are.
    """
    try:
        with full_disk_told():
            yield
    except (FileNotFoundError, DvcException, EnvironmentProblem):
        raise
    except Exception as error:
        what = " ".join(f"{type(error).__name__}: {error}".split())
        raise RemoteAway(f"{place} does not answer ({what})") from error
