"""The graph in parallel, on this machine, without any server.

    python -m pipelines.flows.reproduce [--slots 2] [--rows t2t_vit_14 vit_small]

Makes every stale stage as soon as what it needs is there, one on each GPU or as many at once as
there are slots, and ends as a serial `dvc repro` would have: the same dvc.lock, the same cache.
"""

import argparse
import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.check import check_params
from pipelines.environment import ROOT, project_environment
from pipelines.lock_file import check_lock
from pipelines.params.training import CpuThreads
from pipelines.room import full_disk_told
from t2t.errors import ConfigError, T2TError
from t2t.training.stopping import leave_with_parent

if TYPE_CHECKING:
    from pipelines.flows.flow import Wish

# Each waits in a thread of its own; how many run at once is the workers' affair.
_REQUESTS_AT_ONCE = 256


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code: 0 where everything is there, 1 where a stage failed, 75 where it was stopped
    and can be run again, else the error's class, as everywhere."""
    if "--leave-with-parent" in (sys.argv[1:] if argv is None else argv):
        leave_with_parent()
    os.environ.update(project_environment(os.environ))
    os.chdir(ROOT)
    is_to_stop = _stop_on_signals()
    try:
        with full_disk_told():
            return _reproduce(_arguments(argv), is_to_stop)
    except T2TError as error:
        print(f"flow: {error}", file=sys.stderr)
        return error.exit_code


def _reproduce(args: argparse.Namespace, is_to_stop: Callable[[], bool]) -> int:
    # These import DVC and rich, which --help need not wait for.
    from pipelines.flows.display import shown
    from pipelines.flows.flow import run_flow
    from pipelines.flows.folder import sole_flow
    from pipelines.flows.summary import FlowPlan
    from pipelines.flows.tree import asking_for

    with sole_flow(ROOT, wait=args.wait, is_to_stop=is_to_stop), ExitStack() as stack:
        wish = _wish(args)
        keep_scale = stack.enter_context(asking_for(ROOT, wish.scale))

        def planned(plan: FlowPlan):
            keep_scale()
            return stack.enter_context(shown(plan))

        summary = run_flow(ROOT, wish, planned=planned, is_to_stop=is_to_stop)
    print(summary.as_text(), flush=True)
    return summary.exit_code


def _wish(args: argparse.Namespace) -> "Wish":
    """What is asked for, of the tree as it is now."""
    from pipelines.flows.flow import Wish
    from pipelines.flows.gpus import visible_gpus
    from pipelines.flows.tree import check_scale
    from pipelines.raw_changes import check_raw

    params = check_params(ROOT / "params.yaml")
    if mended := check_lock(ROOT):
        print(f"flow: {mended}", file=sys.stderr)
    scale = args.scale or params.part("scale", str)
    check_scale(params, scale)
    check_raw(params, scale, ROOT)
    gpus = [] if args.pool else visible_gpus(os.environ)
    threads = params.part(f"scales.{scale}.cpu_threads", CpuThreads)
    places = args.slots or max(1, len(os.sched_getaffinity(0)) // threads)
    wish = Wish(
        scale=scale,
        rows=tuple(args.rows),
        places=places,
        gpus=tuple(gpus),
        allow_dirty=args.allow_dirty,
        folder=args.folder,
    )
    return _by_pool(wish, args.pool) if args.pool else wish


def _by_pool(wish: "Wish", pool: str) -> "Wish":
    """The same, made by the workers of a Prefect pool, as many at once as these are."""
    from pipelines.flows.dispatch import PrefectDispatcher
    from pipelines.flows.pool import Errand, pool_maker
    from pipelines.flows.tree import head_commit, is_on_no_remote

    commit = head_commit(ROOT)
    if commit is None or wish.allow_dirty:
        raise ConfigError("workers know nothing but commits: --pool goes without --allow-dirty")
    if is_on_no_remote(ROOT, commit):
        text = f"no remote is known to have commit {commit[:12]}: can workers get it? `git push`"
        print(f"flow: {text}", file=sys.stderr)
    dispatcher = PrefectDispatcher(pool)
    dispatcher.check()
    maker = pool_maker(Errand(commit, wish.scale), dispatcher)
    return replace(wish, places=_REQUESTS_AT_ONCE, gpus=(), pool=pool, maker=maker)


def _stop_on_signals() -> Callable[[], bool]:
    """Whether SIGTERM or SIGINT has come; a second one changes nothing."""
    asked = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: asked.set())
    return asked.is_set


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="reproduce", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--slots", type=int, help="stages at once that use no GPU; by the cores")
    parser.add_argument("--rows", nargs="+", default=[], help="these and what they need, no report")
    parser.add_argument("--scale", help="written into params.yaml, if it is not there already")
    parser.add_argument("--allow-dirty", action="store_true", help="with what no commit holds")
    parser.add_argument("--wait", action="store_true", help="for another flow here to end")
    parser.add_argument("--pool", help="let the workers of this Prefect pool make the stages")
    parser.add_argument("--folder", type=Path, help="for journal and logs; below data/flows")
    parser.add_argument("--leave-with-parent", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if args.slots is not None and args.slots < 1:
        raise ConfigError(f"--slots must be at least 1, not {args.slots}")
    if args.pool and args.slots:
        raise ConfigError(
            "--slots is for this machine; with --pool the --limit of each worker says how many "
            "stages run at once"
        )
    return args


if __name__ == "__main__":
    sys.exit(main())
