"""What dvc.lock has recorded, read beside other processes of DVC."""

import time
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from t2t.errors import EnvironmentProblem

NOT_RECORDED = "not recorded"
# DVC writes the file in place, which takes it a second or so with hundreds of stages.
_ATTEMPTS, _PAUSE_S = 60, 0.5
# Between two of its writes lie some hundredths of a second.
_SETTLING_S = 0.2


def dvc_digest(out: Path, lock: Path = Path("dvc.lock")) -> str:
    """The hash under which `lock` knows the output `out`, or NOT_RECORDED.

    Raises EnvironmentProblem where the file stays unreadable.
    """
    return dvc_digests(lock).get(out.as_posix(), NOT_RECORDED)


def dvc_digests(lock: Path) -> dict[str, str]:
    """The hashes of all outputs that `lock` knows, by path. Raises as `dvc_digest` does."""
    return {
        entry["path"]: entry["md5"]
        for stage in _stages(lock).values()
        for entry in stage.get("outs", [])
    }


def _stages(lock: Path) -> dict[str, Any]:
    if not lock.is_file():
        return {}
    for _ in range(_ATTEMPTS):
        stages = _whole(lock)
        if stages is not None:
            return stages
        time.sleep(_PAUSE_S)
    raise EnvironmentProblem(
        f"{lock}: no whole lock file after {_ATTEMPTS * _PAUSE_S:.0f} s; is another process stuck "
        "while it writes it? `git checkout dvc.lock` brings the last commit's back"
    )


def _whole(lock: Path) -> dict[str, Any] | None:
    """The stages, or None while DVC is at writing: the text ends early, or changes meanwhile."""
    text = lock.read_text()
    try:
        content = YAML(typ="safe").load(text)
    except YAMLError:
        return None
    if not isinstance(content, dict) or not isinstance(content.get("stages"), dict):
        return None
    time.sleep(_SETTLING_S)
    return content["stages"] if lock.read_text() == text else None
