"""The process that damages and kills, once for all tests."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
Inject = Callable[[str, str, int], list[dict]]


@pytest.fixture(scope="session")
def server(tmp_path_factory) -> Iterator[subprocess.Popen[str]]:
    cache = tmp_path_factory.mktemp("cache")
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "XDG_CACHE_HOME": str(cache)}
    with subprocess.Popen(
        [sys.executable, "-m", "tests.faults.server"], cwd=ROOT, env=environment, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    ) as process:  # fmt: skip
        yield process
        assert process.stdin is not None
        process.stdin.close()


@pytest.fixture
def inject(server, tally, tmp_path) -> Inject:
    """Has `count` faults of a name injected, counts them, and fails where one did not hold."""

    def injected(what: str, name: str, count: int) -> list[dict]:
        tally.plan(count)
        server.stdin.write(f"{what}\t{name}\t{tmp_path}\t{count}\n")
        server.stdin.flush()
        status = server.stdout.readline()
        faults = [json.loads(line) for line in (tmp_path / "faults").read_text().splitlines()]
        for fault in faults:
            tally.add(fault["held"])
        bad = [fault["what"] for fault in faults if not fault["held"]]
        assert not bad, f"{len(bad)} of {len(faults)}:\n" + "\n".join(bad[:5])
        assert (status, len(faults)) == ("0\n", count), (tmp_path / "log").read_text()[-2000:]
        return faults

    return injected
