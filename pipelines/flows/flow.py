"""A whole flow in one workspace: plan, make, check. It knows neither Prefect nor params.yaml."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipelines.flows.folder import (
    LOGS,
    PLAN,
    SUMMARY,
    Journal,
    keep_minutes,
    new_folder,
    past_minutes,
)
from pipelines.flows.gpus import GpuPool
from pipelines.flows.jobs import jobs_of, selected
from pipelines.flows.local import LocalMaker
from pipelines.flows.outcome import Event, Listener
from pipelines.flows.policy import Room
from pipelines.flows.scheduler import Maker, Scheduler
from pipelines.flows.summary import FlowPlan, Summary
from pipelines.flows.tree import committed_order, head_commit, refuse_uncommitted, uncommitted
from pipelines.keeper import Keeper
from pipelines.planning.staleness import plan_stages
from t2t.files import write_json

# Given the keeper, the folder for logs, the listener and the question whether to stop.
MakerOf = Callable[[Keeper, Path, Listener, Callable[[], bool]], Maker]


@dataclass(frozen=True)
class Wish:
    """What is asked of a flow: `rows` (all where none), places, GPUs, and how strict it is; or the
    name of the `pool` whose `maker` has workers make it."""

    scale: str
    rows: tuple[str, ...] = ()
    places: int = 1
    gpus: tuple[str, ...] = ()
    allow_dirty: bool = False
    folder: Path | None = None
    pool: str = ""
    maker: MakerOf = LocalMaker


def run_flow(
    root: Path,
    wish: Wish,
    *,
    planned: Callable[[FlowPlan], Listener],
    is_to_stop: Callable[[], bool] = lambda: False,
) -> Summary:
    """Makes what is stale in `root`, which must be the working directory; for the holder of
    `sole_flow`.

    planned: told the plan, answers with who is to hear of what happens. The workspace is as a
    serial `dvc repro` would have left it, or the summary says where not.

    Raises ConfigError for an uncommitted tree or unknown rows.
    """
    began = time.monotonic()
    keeper = Keeper(root)
    try:
        return _flow(root, wish, keeper, planned, is_to_stop, began)
    finally:
        keeper.close()


def _flow(
    root: Path,
    wish: Wish,
    keeper: Keeper,
    planned: Callable[[FlowPlan], Listener],
    is_to_stop: Callable[[], bool],
    began: float,
) -> Summary:
    plan = _plan(root, wish, keeper)
    folder = wish.folder or new_folder(root)
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / PLAN, plan.as_values())
    tell = _to_all([Journal(folder), planned(plan)])
    maker = wish.maker(keeper, folder / LOGS, tell, is_to_stop)
    scheduler = Scheduler(plan.jobs, plan.room, GpuPool(wish.gpus), maker, tell)
    try:
        outcomes = scheduler.run(is_to_stop)
    finally:
        if scheduler.outcomes:
            keeper.settle(committed_order(root))
            keep_minutes(root, wish.scale, scheduler.outcomes)
    done = [name for name, outcome in outcomes.items() if outcome.status.is_good]
    summary = Summary(
        plan=plan,
        outcomes=outcomes,
        seconds=time.monotonic() - began,
        stopped=is_to_stop(),
        unsettled=keeper.unsettled(done),
    )
    write_json(folder / SUMMARY, summary.as_values())
    return summary


def _plan(root: Path, wish: Wish, keeper: Keeper) -> FlowPlan:
    states = selected(keeper.states(), wish.rows)
    stages = plan_stages(states)
    others = uncommitted(root, keeper.outputs(), wish.scale)
    if not wish.allow_dirty:
        refuse_uncommitted(others)
    return FlowPlan(
        scale=wish.scale,
        commit=head_commit(root),
        uncommitted=tuple(others),
        stages=tuple(stages),
        jobs=tuple(jobs_of(states, stages, past_minutes(root, wish.scale))),
        room=Room(len(wish.gpus), wish.places),
        pool=wish.pool,
    )


def _to_all(listeners: Sequence[Listener]) -> Listener:
    def tell(event: Event) -> None:
        for listener in listeners:
            listener(event)

    return tell
