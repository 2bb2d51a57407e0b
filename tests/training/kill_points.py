"""Kills a training run at random moments until it is done: `python -m tests.training.kill_points
SHARDS FOLDER KILLS`. Children are forked from a process that has imported everything."""

import os
import random
import signal
import sys
import threading
import time
from pathlib import Path

import torch
from tqdm import tqdm

from t2t.errors import Preempted
from t2t.files import write_text
from t2t.training.loop import Fit
from t2t.training.run import train_run
from tests.runs import changed, short_config

# Of the time that 24 undisturbed steps take, so that no machine is done before it was killed.
LONGEST_LIFE = 0.5


def main(shards: Path, folder: Path, kills: int) -> None:
    """Prints, for every death, the signal, what waitpid says of it, the newest checkpoint's step
    before that life, and the step at which it began: - where it had not come so far."""
    torch.set_num_threads(1)
    # tqdm's own lock is shared by everything that is forked: a child that is killed holding it
    # would have all later ones wait for ever.
    tqdm.set_lock(threading.RLock())
    config = changed(short_config(), epochs=2 * kills)
    draws = random.Random(0)
    for name in ("imports", "timed"):
        began = time.monotonic()
        train_run(short_config(), shards, folder / name, folder / f"{name}_out", {})
        longest_s = LONGEST_LIFE * (time.monotonic() - began)
    began_at = folder / "began_at"
    for number in range(kills):
        began_at.unlink(missing_ok=True)
        saved = max(map(step_of, (folder / "work").glob("*/step_*.pt")), default=0)
        child = os.fork()
        if child == 0:
            live(config, shards, folder, began_at)
        time.sleep(draws.uniform(0, longest_s))
        how = draws.choice([signal.SIGKILL, signal.SIGTERM])
        os.kill(child, how)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        found = began_at.read_text() if began_at.exists() else "-"
        print(number, how.name, status, saved, found, flush=True)
    train_run(config, shards, folder / "work", folder / "out", {})


def step_of(checkpoint: Path) -> int:
    return int(checkpoint.name.split("-")[0].removeprefix("step_"))


def live(config, shards: Path, folder: Path, began_at: Path) -> None:
    """A child's whole life: 75 where it has saved its state on SIGTERM."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    real = Fit.run

    def run(fit, stop):
        write_text(began_at, str(fit.state.step))
        real(fit, stop)

    Fit.run = run
    try:
        train_run(config, shards, folder / "work", folder / "out", {})
    except Preempted:
        os._exit(75)
    os._exit(0)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
