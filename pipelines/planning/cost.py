"""What the rows of a plan cost: hours, device-hours, money, memory."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pipelines.planning.fleet import Fleet
from pipelines.planning.rows import Row
from pipelines.planning.speed import Speed
from pipelines.planning.staleness import PlannedStage, Verdict
from t2t.evaluation.memory import TrainingMemory


@dataclass(frozen=True)
class RowCost:
    """A row with what its training takes. Hours are None where its speed or length is unknown.

    run_h: one run on one device. elapsed_h: all runs, side by side on all devices. device_h:
    what the devices are occupied for, and paid for.
    """

    row: Row
    train: Verdict | None
    evaluate: Verdict | None
    speed: Speed | None
    run_h: float | None
    elapsed_h: float | None
    device_h: float | None
    images_at_once: int
    memory: TrainingMemory | None

    @property
    def is_certain(self) -> bool:
        """Whether the row trains whatever comes before it gives."""
        return self.train in (None, Verdict.RUNS)

    @property
    def is_possible(self) -> bool:
        """Whether the row may train."""
        return self.is_certain or self.train is Verdict.MAY_RUN


@dataclass(frozen=True)
class Total:
    """Sums over rows. Hours are None where any row's are.

    elapsed_h: with one row after the other, as `dvc repro` takes them.
    """

    rows: int
    runs: int
    steps: int | None
    images: int | None
    elapsed_h: float | None
    device_h: float | None


def row_cost(
    row: Row,
    stages: Mapping[str, PlannedStage],
    speed: Speed | None,
    fleet: Fleet,
    *,
    with_memory: bool,
) -> RowCost:
    """The cost of one row; `speed` is that of a run on one device of `fleet`."""
    seconds = None if speed is None else row.run_s(speed.images_per_s)
    run_h = None if seconds is None else seconds / 3600
    devices = fleet.devices_of_each(row.runs, row.most_devices)
    train, evaluate = map(stages.get, (row.train_stage, row.evaluate_stage))
    return RowCost(
        row=row,
        train=None if train is None else train.verdict,
        evaluate=None if evaluate is None else evaluate.verdict,
        speed=speed,
        run_h=run_h,
        elapsed_h=None if run_h is None else fleet.elapsed_h(row.runs, run_h, row.most_devices),
        device_h=None if run_h is None else fleet.device_h(row.runs, run_h),
        images_at_once=row.images_at_once(devices),
        memory=row.memory(devices, bfloat16=fleet.is_gpu) if with_memory else None,
    )


def total(costs: Sequence[RowCost]) -> Total:
    """The sums over `costs`."""
    rows = [(cost.row, cost.row.runs) for cost in costs]
    return Total(
        rows=len(costs),
        runs=sum(runs for _, runs in rows),
        steps=_sum([None if row.steps is None else runs * row.steps for row, runs in rows]),
        images=_sum([None if row.images is None else runs * row.images for row, runs in rows]),
        elapsed_h=_sum([cost.elapsed_h for cost in costs]),
        device_h=_sum([cost.device_h for cost in costs]),
    )


def _sum(values: Sequence) -> int | float | None:
    if any(value is None for value in values):
        return None
    return math.fsum(values) if any(isinstance(value, float) for value in values) else sum(values)
