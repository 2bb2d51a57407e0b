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


def leave_with_parent() -> None:
    """Sends this process SIGTERM as soon as its parent, or the `dvc` above it, has died.

    The kernel watches the parent (Linux). Between `dvc` and the stage a shell may stand, which
    outlives its own parent: a thread watches the ancestors up to `dvc`.
    """
    stopping.leave_with_parent()
    ancestors = _ancestors_up_to_dvc()
    if ancestors:
        threading.Thread(target=_watch, args=(ancestors,), daemon=True).start()


def _ancestors_up_to_dvc() -> list[psutil.Process]:
    found = []
    for process in psutil.Process().parents():
        found.append(process)
        try:
            if any(os.path.basename(word) == "dvc" for word in process.cmdline()[:3]):
                return found
        except psutil.Error:
            break
    return []


def _watch(ancestors: list[psutil.Process]) -> None:
    while all(process.is_running() for process in ancestors):
        time.sleep(_POLL_S)
    os.kill(os.getpid(), signal.SIGTERM)
