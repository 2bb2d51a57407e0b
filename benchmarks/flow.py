"""A flow over stages of one second: `python -m benchmarks.flow [--stages 100] [--slots 8]`.

Compares the flow's wall time with the ideal (a second for each stage, shared out), with a flow that
finds nothing to do, and DVC's share of a stage with that of `dvc repro --single-item`. Says how
long DVC takes to import, and how long stages wait for their turn with it. Then stages that keep a
core busy, on one slot and on two.
"""

import argparse
import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest import mock

from pipelines.flows.flow import Wish, run_flow
from pipelines.keeper import Keeper
from tests.flows.stubs import Stub, stub_stages

BUSY_S = 3


def main() -> None:
    """Prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stages", type=int, default=100)
    parser.add_argument("--slots", type=int, default=8)
    parser.add_argument("--busy", type=int, default=12, help="stages that keep a core busy")
    parser.add_argument("--by-command", type=int, default=5, help="stages made by dvc's command")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        measure(Path(folder), args.stages, args.slots, args.by_command)
    one_s, two_s = (busy(args.busy, slots) for slots in (1, 2))
    print(f"{args.busy} stages of {BUSY_S} processor-seconds: {one_s:.1f} s on one slot,")
    print(f"  {two_s:.1f} s on two, {two_s / one_s:.2f} of the time")


def measure(folder: Path, stages: int, slots: int, by_command: int) -> None:
    """Makes `stages` stages on `slots` slots below `folder`, then nothing, then a few by `dvc`."""
    middle = stages - 2
    stub = Stub.created(folder / "stub", stub_stages(middle, "sleep 1"))
    os.environ["DVC_SITE_CACHE_DIR"] = str(folder / "site_cache")
    with contextlib.chdir(stub.folder):
        ideal_s = middle / slots
        with waits_for_dvc() as waited:
            wall_s, cpu_s = timed(lambda: flow(stub.folder, slots))
        print(f"{stages} stages of 1 s on {slots} slots: {wall_s:.1f} s, ideal {ideal_s:.1f} s")
        print(f"  {wall_s / ideal_s:.2f} x ideal; processor {1000 * cpu_s / stages:.0f} ms a stage")
        print(f"  waits for DVC's turn: {1000 * sum(waited) / stages:.0f} ms a stage, in all slots")
        print(f"  import of DVC, once: {import_s():.2f} s")
        wall_s, cpu_s = timed(lambda: flow(stub.folder, slots))
        print(f"nothing to do: {wall_s:.1f} s ({cpu_s:.1f} s of a processor)")
        wall_s, cpu_s = timed(lambda: by_dvc(by_command))
        each_ms = 1000 * cpu_s / by_command
        print(f"dvc repro --single-item: processor {each_ms:.0f} ms a stage")


def busy(stages: int, slots: int) -> float:
    """Seconds that a flow takes over stages of BUSY_S on the processor each."""
    work = f"(ulimit -t {BUSY_S}; while :; do :; done) || true"
    with tempfile.TemporaryDirectory() as folder:
        stub = Stub.created(Path(folder) / "stub", stub_stages(stages, work))
        os.environ["DVC_SITE_CACHE_DIR"] = f"{folder}/site_cache"
        with contextlib.chdir(stub.folder):
            return timed(lambda: flow(stub.folder, slots))[0]


def flow(folder: Path, slots: int) -> None:
    """A flow that must end well."""
    wish = Wish("stub", places=slots)
    summary = run_flow(folder, wish, planned=lambda plan: lambda event: None)
    assert summary.exit_code == 0, summary.as_text()


@contextlib.contextmanager
def waits_for_dvc() -> Iterator[list[float]]:
    """Seconds that each call waited for its turn with DVC, of flows in the block."""
    waited: list[float] = []
    plain = Keeper.held

    @contextlib.contextmanager
    def held(keeper: Keeper) -> Iterator[None]:
        asked = time.monotonic()
        with keeper._mutex:  # again its own below, for which nobody waits
            waited.append(time.monotonic() - asked)
            with plain(keeper):
                yield

    with mock.patch.object(Keeper, "held", held):
        yield waited


def import_s() -> float:
    """What a new process spends on the import of DVC."""
    return _python_s("import dvc.repo") - _python_s("")


def _python_s(program: str) -> float:
    return timed(lambda: subprocess.run([sys.executable, "-c", program], check=True))[0]


def by_dvc(stages: int) -> None:
    """A few stages forced by DVC's command, one after the other."""
    for item in range(stages):
        words = ["--wait-for-lock", "repro", "--quiet", "--force", "--single-item", f"mid@{item}"]
        subprocess.run([sys.executable, "-m", "dvc", *words], check=True)


def timed(work: Callable[[], None]) -> tuple[float, float]:
    """Seconds on the wall, and of processors, this process's and its children's."""
    before, began = os.times(), time.monotonic()
    work()
    after = os.times()
    return time.monotonic() - began, sum(after[:4]) - sum(before[:4])


if __name__ == "__main__":
    main()
