"""DVC's part of making stages, in one process that has the graph at hand.

`dvc repro --single-item` spends seconds of processor time on each stage of a large graph: it reads
dvc.yaml and dvc.lock wholly, checks the graph twice and writes dvc.lock wholly, under its lock.
Here the same calls of DVC are made stage by stage, with the graph read once and the entries of
dvc.lock replaced one at a time (docs/decisions/014). DVC's repository lock is held while something
is read or written, never while a command runs; meanwhile its path locks keep other `dvc` processes
out.
"""

import contextlib
import logging
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from dvc.dependency.param import ParamsDependency
from dvc.exceptions import DvcException
from dvc.lock import LockError
from dvc.repo import Repo
from dvc.repo.reproduce import plan_repro
from dvc.rwlock import rwlock
from dvc.stage import PipelineStage
from dvc.stage.cache import RunCacheNotFoundError
from dvc.stage.loader import StageLoader
from dvc.stage.run import get_executable, prepare_kwargs
from dvc.stage.serialize import to_lockfile, to_single_stage_lockfile
from dvc.utils.serialize import dumps_yaml, parse_yaml, parse_yaml_for_update
from dvc_data.hashfile.hash_info import HashInfo
from dvc_data.hashfile.meta import Meta

from pipelines.graph import StageState, dvc_at_work, states_in
from pipelines.lock_file import HEAD, LOCK_FILE, LockFile, in_order, text_of
from pipelines.room import full_disk_told
from t2t.errors import ConfigError, EnvironmentProblem


class Found(Enum):
    """What becomes of a stage that is begun."""

    UP_TO_DATE = "up to date"
    RESTORED = "from cache"
    TO_RUN = "to run"


@dataclass(frozen=True)
class Command:
    """What makes a stage: words for the operating system, the folder, variables to be set."""

    words: tuple[str, ...]
    folder: Path
    environment: Mapping[str, str]


class Keeper:
    """The workspace in `root`, which must be the working directory: DVC has names relative to it.

    Safe to be called from several threads; DVC itself is not, so that they take turns.
    """

    def __init__(self, root: Path):
        self._root = root
        self.lock_file = LockFile(root)
        self._mutex = threading.RLock()
        # Its sentences for a terminal, and the bars that depend on their level.
        logging.getLogger("dvc").setLevel(logging.WARNING)
        self.repo = Repo(str(root), _wait_for_lock=True)
        self._holds: dict[str, contextlib.ExitStack] = {}
        self._inputs: dict[str, Mapping[str, Any]] = {}
        with self.held():
            graph = self.repo.index.graph
            self._stages: dict[str, PipelineStage] = {
                str(stage.addressing): stage for stage in plan_repro(graph)
            }
            self._upstream = {
                name: [above.addressing for above in graph.successors(stage)]
                for name, stage in self._stages.items()
            }

    def close(self) -> None:
        """Lets go of every stage and of DVC's databases."""
        for name in list(self._holds):
            self.abandon(name)
        self.repo.close()

    def states(self) -> list[StageState]:
        """`pipelines.graph.stage_states`, without reading the graph again."""
        with self.held():
            for stage in self._stages.values():
                self._refill(stage)
            return states_in(self.repo)

    def begin(self, name: str) -> Found:
        """Restores the stage where the cache holds what its inputs give, else readies it to run.

        A stage that is to run has lost its outputs, as with DVC, and is locked until `finish` or
        `abandon`. Raises EnvironmentProblem where DVC cannot do its part.
        """
        with self.held():
            stage = self.stage(name)
            if not stage.changed():
                return Found.UP_TO_DATE
            stage.remove_outs(ignore_remove=False, force=False)
            try:
                self.repo.stage_cache.restore(stage)
            except RunCacheNotFoundError:
                stage.save_deps()
                self._inputs[name] = _inputs_of(stage)
                self._holds[name] = self._locked_paths(stage)
                return Found.TO_RUN
            self._make_plain(stage)
            self._record(stage)
            return Found.RESTORED

    def command(self, name: str) -> Command:
        """What DVC would run for the stage, and with which environment."""
        stage = self._stages[name]
        variables = prepare_kwargs(stage)
        shell = get_executable() or "/bin/sh"
        return Command(
            (shell, "-c", f"{stage.cmd}"), Path(variables["cwd"]), dict(variables["env"])
        )

    def finish(self, name: str) -> None:
        """Takes the outputs of a stage that has run into the cache, and it into dvc.lock.

        Raises EnvironmentProblem, and records nothing, where an output is missing, an input is not
        what it was at the beginning, or the cache did not take everything: a full disk, which DVC
        itself passes over in folders.
        """
        with self.held():
            self._holds.pop(name).close()
            stage = self._stages[name]
            stage.save_deps()
            changed = _differing(self._inputs.pop(name), _inputs_of(stage))
            if changed:
                raise EnvironmentProblem(
                    f"{', '.join(changed)} changed while {name} ran, so its outputs are of neither "
                    "the old nor the new"
                )
            self._record(stage)

    def abandon(self, name: str) -> None:
        """Lets go of a stage that was begun and did not end well."""
        with self.held():
            self._inputs.pop(name, None)
            hold = self._holds.pop(name, None)
            if hold is not None:
                hold.close()

    def unsettled(self, names: Sequence[str]) -> dict[str, str]:
        """Of the stages `names` those that are not as dvc.lock and the cache have to hold them,
        with what is wrong."""
        found = {}
        with self.held():
            for name in names:
                stage = self.stage(name)
                if not any(out.hash_info for out in stage.outs):
                    found[name] = "it is not in dvc.lock"
                elif stage.changed():  # by its cache, too
                    missing = ", ".join(self._lost(stage))
                    lacks = f"the cache lacks parts of {missing}"
                    found[name] = lacks if missing else "it is not as dvc.lock has it"
        return found

    def lost(self, names: Sequence[str]) -> dict[str, list[str]]:
        """Of the stages `names`, which dvc.lock has, those whose outputs the cache lacks, or parts
        of them."""
        with self.held():
            found = {name: self._lost(self.stage(name)) for name in names}
        return {name: outs for name, outs in found.items() if outs}

    def _lost(self, stage: PipelineStage) -> list[str]:
        return [str(out) for out in stage.outs if _is_lost(out)]

    def recorded(self) -> list[str]:
        """The stages of the graph that dvc.lock has, in the order of the graph."""
        entries = self.lock_file.entries()
        return [name for name in self._stages if name in entries]

    def settle(self, first: Sequence[str]) -> None:
        """Gives dvc.lock the order and the bytes that a serial `dvc repro` would have given it.

        first: the names that dvc.lock had before, which keep their places.
        """
        with self.held():
            entries = self.lock_file.entries()
            if not entries:
                return
            names = in_order(entries, first, list(self._stages))
            text = text_of({name: entries[name] for name in names})
            # What DVC's own serializer makes of it is what counts.
            self.lock_file.write(dumps_yaml(parse_yaml_for_update(text, LOCK_FILE)))

    def outputs(self) -> list[Path]:
        """What the stages write, relative to the root."""
        outs = [out.fs_path for stage in self._stages.values() for out in stage.outs]
        return [Path(path).relative_to(self._root) for path in outs]

    def upstream(self, name: str) -> list[str]:
        """The stages whose outputs the stage reads."""
        return self._upstream[name]

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """This thread's turn, under DVC's repository lock; DVC's errors and a full disk's become
        ours."""
        with self._mutex:
            if self.repo.lock.is_locked:
                yield
                return
            try:
                with (
                    full_disk_told(),
                    self.repo.lock,
                    self.repo.scm_context(autostage=False, quiet=True),
                ):
                    yield
            except LockError as error:
                raise dvc_at_work(self._root, error) from None
            except DvcException as error:
                raise EnvironmentProblem(f"DVC: {' '.join(str(error).split())}") from error

    def stage(self, name: str) -> PipelineStage:
        """DVC's own stage, with what dvc.lock holds of it now: others may write there, too.

        For the block of `held` alone. Raises ConfigError for a name that dvc.yaml lacks.
        """
        if name not in self._stages:
            raise ConfigError(f"dvc.yaml: no stage {name!r}")
        stage = self._stages[name]
        self._refill(stage)
        return stage

    def _refill(self, stage: PipelineStage) -> None:
        entry = self._entry(str(stage.addressing))
        for item in (*stage.deps, *stage.outs):
            item.hash_info = HashInfo()
            item.obj = None
            if not isinstance(item, ParamsDependency):
                item.hash_name, item.meta = "md5", Meta()
        stage.cmd_changed = bool(entry) and entry.get("cmd") != stage.cmd
        StageLoader.fill_from_lock(stage, entry)

    def _make_plain(self, stage: PipelineStage) -> None:
        """Gives outputs that git keeps a copy of their own: a link would let an editor reach into
        the cache."""
        for out in stage.outs:
            if not out.use_cache:
                self.repo.cache.local.unprotect(out.fs_path)

    def _record(self, stage: PipelineStage) -> None:
        # As dvc.stage.Stage.run: no run cache for a stage with plain outputs that git keeps.
        plain = any(not out.use_cache for out in stage.outs if not (out.is_metric or out.is_plot))
        stage.save(run_cache=not plain)
        stage.commit()
        if lost := self._lost(stage):
            raise EnvironmentProblem(
                f"DVC's cache did not take all of {', '.join(lost)}: is the disk full?"
            )
        lines = dumps_yaml({"stages": to_lockfile(stage)}).splitlines(keepends=True)
        self.lock_file.take({str(stage.addressing): "".join(lines[1:])})

    def _locked_paths(self, stage: PipelineStage) -> contextlib.ExitStack:
        """DVC's locks on what the stage reads and writes, until the answer is closed."""
        hold = contextlib.ExitStack()
        reads, writes = ([item.fs_path for item in some] for some in (stage.deps, stage.outs))
        hold.enter_context(
            rwlock(
                self.repo.tmp_dir,
                self.repo.fs,
                f"flow: {stage.addressing}",
                reads,
                writes,
                self.repo.config["core"].get("hardlink_lock", False),
            )
        )
        return hold

    def _entry(self, name: str) -> dict[str, Any]:
        text = self.lock_file.entries().get(name)
        return parse_yaml(f"{HEAD}{text}", LOCK_FILE)["stages"][name] if text else {}


def _inputs_of(stage: PipelineStage) -> dict[str, Any]:
    """The hashes of files and the values of parameters that the stage depends on."""
    entry = to_single_stage_lockfile(stage)
    found = {item["path"]: item for item in entry.get("deps", ())}
    for file, values in entry.get("params", {}).items():
        found |= {f"{file}: {key}": value for key, value in values.items()}
    return found


def _differing(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    return sorted(key for key in before.keys() | after.keys() if before.get(key) != after.get(key))


def _is_lost(out: Any) -> bool:
    return out.use_cache and out.changed_cache()
