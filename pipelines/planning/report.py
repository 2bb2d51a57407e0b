"""A plan as a whole, and as values for machines."""

import dataclasses
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipelines.planning.cost import RowCost, Total, total
from pipelines.planning.fleet import Fleet
from pipelines.planning.sizes import DataSize
from pipelines.planning.staleness import PlannedStage, Verdict


@dataclass(frozen=True)
class Plan:
    """What `dvc repro` would do at `scale`.

    `stages` are those of the graph by name, none where the scale is not the one of params.yaml: DVC
    resolves dvc.yaml for that one alone. `price_per_h` is of one device.
    """

    scale: str
    source: str
    data: DataSize | None
    seeds: tuple[int, ...]
    fleet: Fleet
    stages: Mapping[str, PlannedStage]
    costs: tuple[RowCost, ...]
    price_per_h: float | None

    @property
    def image_size(self) -> int:
        """Pixels of a side."""
        return self.costs[0].row.arguments["image_size"]

    @property
    def certain(self) -> Total:
        """Sums over the rows that train."""
        return total([cost for cost in self.costs if cost.is_certain])

    @property
    def possible(self) -> Total:
        """Sums over the rows that train or may train."""
        return total([cost for cost in self.costs if cost.is_possible])

    def price(self, device_h: float | None) -> float | None:
        """What so many device-hours cost, in the unit of the price."""
        if device_h is None or self.price_per_h is None:
            return None
        return device_h * self.price_per_h

    def verdicts(self) -> dict[Verdict, int]:
        """How many stages there are of each verdict."""
        counts = Counter(stage.verdict for stage in self.stages.values())
        return {verdict: counts[verdict] for verdict in Verdict if counts[verdict]}


def as_values(plan: Plan) -> dict[str, Any]:
    """The plan as plain values: what the text shows, unrounded, and every stage's reasons."""
    data = None
    if plan.data is not None:
        data = dataclasses.asdict(plan.data)
        del data["counts"]
    return {
        "scale": plan.scale,
        "seeds": list(plan.seeds),
        "image_size": plan.image_size,
        "data": data,
        "fleet": dataclasses.asdict(plan.fleet),
        "price_per_h": plan.price_per_h,
        "stages": [dataclasses.asdict(stage) for stage in plan.stages.values()],
        "rows": [_row_values(plan, cost) for cost in plan.costs],
        "certain": _total_values(plan, plan.certain),
        "possible": _total_values(plan, plan.possible),
    }


def _row_values(plan: Plan, cost: RowCost) -> dict[str, Any]:
    row, speed = cost.row, cost.speed
    return {
        "row": row.name,
        "train": cost.train,
        "evaluate": cost.evaluate,
        "runs": row.runs,
        "params": row.params,
        "macs": row.macs,
        "steps_of_a_run": row.steps,
        "images_of_a_run": row.images,
        "images_per_s": None if speed is None else speed.images_per_s,
        "speed_from": None if speed is None else speed.source,
        "run_h": cost.run_h,
        "elapsed_h": cost.elapsed_h,
        "device_h": cost.device_h,
        "price": plan.price(cost.device_h),
        "images_at_once": cost.images_at_once,
        "memory_bytes": None if cost.memory is None else dataclasses.asdict(cost.memory),
    }


def _total_values(plan: Plan, sums: Total) -> dict[str, Any]:
    return dataclasses.asdict(sums) | {"price": plan.price(sums.device_h)}
