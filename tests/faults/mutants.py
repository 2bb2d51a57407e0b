"""Damages one file at a time and looks what its reader does, each time in a child of its own."""

import contextlib
import json
import os
import random
import shutil
import signal
import time
import traceback
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from t2t.errors import T2TError
from tests.faults.kinds import Kind
from tests.faults.mutation import mutate

LIMIT_S = 30.0
LONGEST_SENTENCE = 1000
# What a mutant may end in; all else is a fault of ours.
RIGHT, TOLD = "right", "told"


def damage(kind: Kind, folder: Path, count: int) -> Iterator[dict[str, Any]]:
    """Makes sound files, then one mutant after the other out of them; what became of each."""
    sound, mutant = folder / "sound", folder / "mutant"
    sound.mkdir()
    kind.make(sound)
    right = kind.read(sound)
    assert right == kind.read(sound), "reading must be repeatable"
    for number in range(count):
        draws = random.Random(f"{kind.name} {number}")
        shutil.rmtree(mutant, ignore_errors=True)
        shutil.copytree(sound, mutant)
        files = sorted(path for path in mutant.rglob("*") if kind.may_be_damaged(path))
        path = draws.choice(files)
        others = [p for p in files if p != path and p.suffix == path.suffix]
        how = mutate(path, others, draws)
        outcome, said = judged(kind, mutant, path, right)
        yield {
            "held": outcome in (RIGHT, TOLD),
            "what": f"{path.name}, {how}: {outcome}: {said}",
            "noticed": outcome == TOLD,
        }


def judged(kind: Kind, folder: Path, path: Path, right: Any) -> tuple[str, str]:
    """The outcome of reading `folder`, whose file `path` is damaged, in a child of its own."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        _live(kind, folder, path, right, writing)
    os.close(writing)
    give_up_at, answer = time.monotonic() + LIMIT_S, b""
    os.set_blocking(reading, False)
    while True:
        with contextlib.suppress(BlockingIOError):
            answer += os.read(reading, 1 << 16)
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid or time.monotonic() > give_up_at:
            break
        time.sleep(0.002)
    if not pid:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(reading)
        return "hung", f"more than {LIMIT_S:.0f} s"
    with contextlib.suppress(BlockingIOError):
        answer += os.read(reading, 1 << 16)
    os.close(reading)
    if status:
        return "died", f"status {os.waitstatus_to_exitcode(status)}"
    outcome, said = json.loads(answer)
    return outcome, said


def _live(kind: Kind, folder: Path, path: Path, right: Any, writing: int) -> None:
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 1)
    os.dup2(null, 2)
    warnings.simplefilter("ignore")
    answer = (RIGHT, "")
    try:
        found = kind.read(folder)
        expected = kind.expected(folder, path, right)
        if found != expected:
            answer = ("wrong", f"{found!r}"[:300])
    except T2TError as error:
        answer = (_sentence(str(error), path, kind), str(error))
    except BaseException:
        answer = ("traceback", traceback.format_exc()[-1500:])
    os.write(writing, json.dumps(answer).encode()[:60_000])
    os._exit(0)


def _sentence(text: str, path: Path, kind: Kind) -> str:
    """Whether an error is one sentence, of bearable length, that names the damaged file."""
    clear = "\n" not in text and len(text) <= LONGEST_SENTENCE
    named = any(name in text for name in kind.names_of(path))
    return TOLD if clear and named else "untold"
