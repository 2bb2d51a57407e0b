"""Puts a plan together: the graph, the images, the rows, their speeds, the devices."""

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path

from pipelines.check import check_params
from pipelines.graph import stage_states
from pipelines.params.data import DataParams
from pipelines.params.reader import Params, suggest
from pipelines.params.training import CpuThreads, Seeds
from pipelines.planning.cost import row_cost
from pipelines.planning.fleet import Fleet, devices_here, present_fleet
from pipelines.planning.report import Plan
from pipelines.planning.rows import Row, rows_of
from pipelines.planning.sizes import data_size
from pipelines.planning.speed import GIVEN, MEASURED, Speed, measured_speeds, scaled
from pipelines.planning.staleness import PlannedStage, Verdict, plan_stages
from t2t.errors import ConfigError

DEFAULT_REFERENCE = "t2t_vit_14"


def make_plan(
    root: Path,
    *,
    scale: str | None = None,
    images_per_s: float | None = None,
    reference_row: str | None = None,
    devices: int | None = None,
    price_per_h: float | None = None,
    with_memory: bool = False,
) -> Plan:
    """The plan of the project in `root` for `scale`, params.yaml's own if it is None.

    images_per_s: of `reference_row` on one device; None for what journals measured. devices: None
    for this computer's, or for one where a speed is given.

    Raises ConfigError for a mistake or an unknown name, EnvironmentProblem while DVC is at work.
    """
    params = check_params(root / "params.yaml")
    scale = _known_scale(params, scale)
    reference = _known_row(params, reference_row or DEFAULT_REFERENCE) if images_per_s else None
    stages = _stages(root) if scale == params.part("scale", str) else {}
    data = data_size(params, scale, root, _are_fresh(stages))
    rows = rows_of(params, scale, data)
    if reference is None:
        speeds, fleet = _measured(root, rows), _present(params, scale, devices)
    else:
        speeds = {reference: Speed(images_per_s, GIVEN)}
        fleet = Fleet(devices or 1, is_gpu=True)
    speeds = scaled(speeds, {row.name: row.work_macs for row in rows})
    cost_of = functools.partial(row_cost, stages=stages, fleet=fleet, with_memory=with_memory)
    return Plan(
        scale=scale,
        source=params.part(f"scales.{scale}.data", DataParams).source,
        data=data,
        seeds=tuple(params.part(f"scales.{scale}.seeds", Seeds)),
        fleet=fleet,
        stages=stages,
        costs=tuple(cost_of(row, speed=speeds.get(row.name)) for row in rows),
        price_per_h=price_per_h,
    )


def _known_scale(params: Params, asked: str | None) -> str:
    known = params.part("scales", dict)
    if asked is None:
        return params.part("scale", str)
    if asked not in known:
        raise ConfigError(f"--scale {asked!r} is no scale{suggest(asked, known)}")
    return asked


def _known_row(params: Params, asked: str) -> str:
    known = params.part("rows", dict)
    if asked not in known:
        raise ConfigError(f"--reference-row {asked!r} is no row{suggest(asked, known)}")
    return asked


def _stages(root: Path) -> Mapping[str, PlannedStage]:
    return {stage.name: stage for stage in plan_stages(stage_states(root))}


def _are_fresh(stages: Mapping[str, PlannedStage]) -> bool:
    return "shard" in stages and stages["shard"].verdict is Verdict.UP_TO_DATE


def _measured(root: Path, rows: Sequence[Row]) -> dict[str, Speed]:
    """Speeds on one device: a run on several was as many times as fast."""
    found = measured_speeds(
        root / "data" / "checkpoints", {row.name: row.recorded() for row in rows}
    )
    together = {row.name: devices_here(row.runs, row.cpu_threads, row.most_devices) for row in rows}
    return {row: Speed(speed / together[row], MEASURED) for row, speed in found.items()}


def _present(params: Params, scale: str, devices: int | None) -> Fleet:
    here = present_fleet(params.part(f"scales.{scale}.cpu_threads", CpuThreads))
    return here if devices is None else Fleet(devices, here.is_gpu, here.runs_on_each)
