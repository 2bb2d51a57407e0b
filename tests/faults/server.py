"""Damages, kills and fills disks on request, from a process that has imported everything and has
one thread.

Each line of standard input is a request: "damage", "kill" or "fill", a name, a folder and a
number, with tabs between. A child serves it and writes a line of JSON for each fault into the
folder's `faults`. The answer on standard output is the child's exit code; what it says of errors is
in `log`.
"""

import json
import multiprocessing
import os
import sys
import threading
import traceback
import warnings
from pathlib import Path

from tqdm import tqdm

from tests.faults.full_disk import fill
from tests.faults.kills import WORKS, kill
from tests.faults.kinds import KINDS
from tests.faults.mutants import damage


def serve(request: str) -> int:
    """One request, in a child; its exit code."""
    what, name, folder, count = request.split("\t")
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    log = os.open(Path(folder, "log"), os.O_WRONLY | os.O_CREAT)
    os.dup2(log, 1)
    os.dup2(log, 2)
    try:
        _child(what, name, Path(folder), int(count))
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def _child(what: str, name: str, folder: Path, count: int) -> None:
    work = folder / "work"
    work.mkdir(exist_ok=True)  # a disk of its own may be mounted there
    faults = {
        "damage": lambda: damage(KINDS[name], work, count),
        "kill": lambda: kill(WORKS[name], work, count),
        "fill": lambda: fill(WORKS[name], work, count),
    }[what]()
    with open(folder / "faults", "w") as lines:
        for fault in faults:
            print(json.dumps(fault), file=lines, flush=True)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    # tqdm's own lock is shared by forked processes, and whoever is killed takes it along.
    tqdm.set_lock(threading.RLock())
    # The shard writer's workers, too, are forked: half a second saved each.
    fork = multiprocessing.get_context("fork")
    multiprocessing.get_context = lambda method=None: fork
    for line in sys.stdin:
        print(serve(line.rstrip("\n")), flush=True)
