"""Where a result comes from, as tags: the commit and the DVC stage."""

import os
import subprocess


def run_tags() -> dict[str, str]:
    """`git_commit` (with `-dirty` where the tree differs from it) and `stage`."""
    return {"git_commit": _git_commit(), "stage": os.environ.get("DVC_STAGE", "by hand")}


def _git_commit() -> str:
    command = ["git", "describe", "--always", "--abbrev=40", "--dirty", "--exclude=*"]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    return answer.stdout.strip() or "unknown"
