"""Where a result comes from, as tags: the commit, the DVC stage, the hash DVC has for it."""

import os
import subprocess
from pathlib import Path

from ruamel.yaml import YAML


def run_tags() -> dict[str, str]:
    """`git_commit` (with `-dirty` where the tree differs from it) and `stage`."""
    return {"git_commit": _git_commit(), "stage": os.environ.get("DVC_STAGE", "by hand")}


def _git_commit() -> str:
    command = ["git", "describe", "--always", "--abbrev=40", "--dirty", "--exclude=*"]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    return answer.stdout.strip() or "unknown"


def dvc_digest(out: Path) -> str:
    """The hash under which dvc.lock knows the output `out`, or `not recorded`."""
    lock = Path("dvc.lock")
    stages = YAML(typ="safe").load(lock.read_text())["stages"] if lock.is_file() else {}
    for stage in stages.values():
        for entry in stage.get("outs", []):
            if entry["path"] == out.as_posix():
                return entry["md5"]
    return "not recorded"
