"""DVC's graph, read here and nowhere else: `dvc.repo` is semi-public, and DVC is pinned."""

import contextlib
import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any, Literal

from dvc.dependency.base import Dependency
from dvc.dependency.param import ParamsDependency
from dvc.exceptions import DvcException
from dvc.lock import LockError
from dvc.repo import Repo, lock_repo
from dvc.repo.reproduce import plan_repro
from dvc.stage import Stage
from dvc.stage.cache import _can_hash
from dvc.stage.serialize import to_single_stage_lockfile

from t2t.errors import ConfigError, EnvironmentProblem


@dataclass(frozen=True)
class StageInputs:
    """What a stage depends on: files and folders, and dotted keys of params.yaml."""

    paths: tuple[Path, ...]
    param_keys: tuple[str, ...]


def stage_inputs(root: Path, stage_name: str) -> StageInputs:
    """The declared inputs of one stage, such as `train@t2t_vit_14`, templates resolved."""
    with Repo(str(root)) as repo:
        stage = repo.stage.load_one(name=stage_name)
        paths, keys = [], []
        for dependency in stage.deps:
            if isinstance(dependency, ParamsDependency):
                keys += dependency.params
            else:
                paths.append(Path(dependency.fs_path))
    return StageInputs(tuple(sorted(paths)), tuple(sorted(keys)))


def outputs(root: Path) -> list[Path]:
    """What the stages write, relative to `root`. Raises ConfigError for a graph DVC cannot read."""
    try:
        with Repo(str(root)) as repo:
            return [Path(out.fs_path).relative_to(root) for out in repo.index.outs]
    except DvcException as error:
        raise ConfigError(f"dvc.yaml: {' '.join(str(error).split())}") from None


class Kept(Enum):
    """What DVC's cache holds for a stage, if what comes before the stage stays as it is."""

    NOTHING = "nothing"
    THESE_OUTPUTS = "the outputs that dvc.lock lists"
    OTHER_OUTPUTS = "the outputs of an earlier run with the present inputs"


@dataclass(frozen=True)
class Change:
    """Something of a stage that is not as dvc.lock has it; `how` in a word or two.

    `makers` are the stages that write the dependency `name`; `returns` says that dvc.lock has it
    alike in their entry and in this stage's, so that it is the same again once it is restored.
    """

    kind: Literal["stage", "command", "param", "dependency", "output"]
    name: str
    how: str
    makers: tuple[str, ...] = ()
    returns: bool = False


@dataclass(frozen=True)
class StageState:
    """A stage beside its entry in dvc.lock.

    `upstream` are the stages whose outputs it reads, `meta` is what dvc.yaml says beside it: DVC
    has no use for that, and an edit of it makes nothing stale.
    """

    name: str
    changes: tuple[Change, ...]
    upstream: tuple[str, ...]
    kept: Kept
    meta: Mapping[str, Any] = field(default_factory=dict)


def stage_states(root: Path) -> list[StageState]:
    """Every stage as it is now, in the order in which `dvc repro` takes them.

    Each stage is seen alone, as `dvc status` does: what a change upstream will do to the stages
    below is not in here. Nothing is written but DVC's own locks.

    Raises EnvironmentProblem while DVC is at work in `root`, ConfigError for a graph that it
    cannot read.
    """
    try:
        # DVC takes some names to be relative to the working directory.
        with contextlib.chdir(root), Repo(str(root)) as repo, lock_repo(repo):
            return states_in(repo)
    except LockError as error:
        raise dvc_at_work(root, error) from None
    except DvcException as error:
        raise ConfigError(f"dvc.yaml: {' '.join(str(error).split())}") from None


def states_in(repo: Repo) -> list[StageState]:
    """`stage_states` of an open and locked repository, for pipelines.keeper."""
    graph = repo.index.graph
    return [_state(stage, list(graph.successors(stage))) for stage in plan_repro(graph)]


def dvc_at_work(root: Path, error: LockError) -> EnvironmentProblem:
    """What a lock of DVC's that cannot be had means to a person."""
    what = str(error).partition("\n\n")[0].partition(". Most likely")[0]
    return EnvironmentProblem(
        f"DVC is at work in {root} ({' '.join(what.split())}); ask again when it is done"
    )


def _state(stage: Stage, upstream: list[Stage]) -> StageState:
    if not any(out.hash_info for out in stage.outs):
        changes = [Change("stage", stage.addressing, "never run")]
    else:
        # The status is empty, or has the stage's name before a list of mappings and words.
        entries = itertools.chain.from_iterable(stage.status().values())
        changes = [change for entry in entries for change in _changes(entry, stage, upstream)]
    kept = _kept(stage, changes) if changes else Kept.NOTHING
    names = tuple(above.addressing for above in upstream)
    return StageState(stage.addressing, tuple(changes), names, kept, stage.meta or {})


def _changes(entry: Any, stage: Stage, upstream: list[Stage]) -> Iterator[Change]:
    if not isinstance(entry, Mapping):
        yield Change("command", "command", "changed")
        return
    for name, how in entry.get("changed deps", {}).items():
        if isinstance(how, Mapping):
            yield from (Change("param", key, how[key]) for key in how)
        else:
            dependency = next(dep for dep in stage.deps if str(dep) == name)
            yield _changed_dependency(dependency, how, upstream)
    for name, how in entry.get("changed outs", {}).items():
        exists = next(out.exists for out in stage.outs if str(out) == name)
        yield Change("output", name, how if exists else "deleted")


def _changed_dependency(dependency: Dependency, how: str, upstream: list[Stage]) -> Change:
    path = Path(dependency.fs_path)
    makers, returns = [], False
    for above in upstream:
        for out in above.outs:
            made = Path(out.fs_path)
            if made.is_relative_to(path) or path.is_relative_to(made):
                makers.append(above.addressing)
                returns |= made == path and out.hash_info == dependency.hash_info
    return Change("dependency", str(dependency), how, tuple(dict.fromkeys(makers)), returns)


def _kept(stage: Stage, changes: list[Change]) -> Kept:
    """As DVC decides between checking outputs out and running the command (dvc.stage.cache)."""
    cache = stage.repo.stage_cache
    if all(change.kind == "output" or change.returns for change in changes):
        entry, kept = to_single_stage_lockfile(stage), Kept.THESE_OUTPUTS
    elif any(not dep.exists for dep in stage.deps):
        return Kept.NOTHING
    else:
        stage.save_deps()  # into this object, not into dvc.lock
        entry, kept = cache._load(stage) if _can_hash(stage) else None, Kept.OTHER_OUTPUTS
    if entry and cache._create_stage(entry, wdir=stage.wdir).outs_cached():
        return kept
    return Kept.NOTHING
