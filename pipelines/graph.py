"""DVC's graph, read here and nowhere else: `dvc.repo` is semi-public, and DVC is pinned."""

from dataclasses import dataclass
from pathlib import Path

from dvc.dependency.param import ParamsDependency
from dvc.repo import Repo


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
