"""Leaving when the process that asked for the work is gone.

A killed `dvc` would leave its stage running, and the next `dvc repro` would start a second one.
"""

import os
import signal
import threading
import time

import psutil

from t2t.training import stopping

_POLL_S = 0.5
# DVC says so to each stage's command, and so does a flow.
_STAGE = "DVC_STAGE"
_SHELLS = {"sh", "dash", "bash", "zsh", "ksh"}


def leave_with_parent() -> None:
    """Sends this process SIGTERM as soon as its parent, or whoever stands above a shell, has died.

    The kernel watches the parent (Linux). `sh -c COMMAND` may stand between (dash keeps itself
    there, bash does not), and a shell outlives its own parent: a thread watches the ancestors. A
    stage whose `dvc` or flow died before this could be asked for leaves at once.
    """
    stopping.leave_with_parent()
    ancestors = _ancestors_past_shells()
    if _STAGE in os.environ and not any(map(_may_run_stages, ancestors[-1:])):
        os.kill(os.getpid(), signal.SIGTERM)
    if len(ancestors) > 1:
        threading.Thread(target=_watch, args=(ancestors,), daemon=True).start()


def _ancestors_past_shells() -> list[psutil.Process]:
    """The shells right above that run one command, and the process above them."""
    found: list[psutil.Process] = []
    for process in psutil.Process().parents():
        found.append(process)
        try:
            program, *words = process.cmdline()
        except (psutil.Error, ValueError):
            break
        if os.path.basename(program) not in _SHELLS or words[:1] != ["-c"]:
            break
    return found


def _may_run_stages(process: psutil.Process) -> bool:
    """Whether it is `dvc` or a flow by its looks, not the one that orphans are given to."""
    try:
        program = os.path.basename(process.cmdline()[0])
    except (psutil.Error, IndexError):
        return False
    return program.startswith(("python", "dvc"))


def _watch(ancestors: list[psutil.Process]) -> None:
    while all(_lives(process) for process in ancestors):
        time.sleep(_POLL_S)
    os.kill(os.getpid(), signal.SIGTERM)


def _lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
