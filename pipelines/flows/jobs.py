"""Stages as jobs: what each waits for, how many GPUs it wants, how long it takes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pipelines.graph import StageState
from pipelines.params.reader import suggest
from pipelines.planning.staleness import PlannedStage, Verdict
from t2t.errors import ConfigError

_MOST_GPUS = 1024


class StageMeta(BaseModel):
    """`meta:` of a stage in dvc.yaml. minutes: of one run on these GPUs, as a first guess. alone:
    nothing else may run meanwhile, as it measures time."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", allow_inf_nan=False)

    gpus: Annotated[int, Field(ge=0, le=_MOST_GPUS)] = 0
    minutes: Annotated[float, Field(gt=0)] = 1.0
    alone: bool = False


@dataclass(frozen=True)
class Job:
    """A stage that may have to be made. `needs` are the jobs whose outputs it reads.

    gpus: how many it wants; 0 for a stage that takes a place on the processors instead.
    """

    name: str
    needs: tuple[str, ...]
    gpus: int
    minutes: float
    alone: bool = False


def jobs_of(
    states: Sequence[StageState], planned: Sequence[PlannedStage], minutes: Mapping[str, float]
) -> list[Job]:
    """A job for every stage that is not certain to be up to date, in the order of the graph.

    minutes: what stages took in earlier flows, which says more than their `meta`.
    """
    due = {stage.name for stage in planned if stage.verdict is not Verdict.UP_TO_DATE}
    jobs = []
    for state in states:
        if state.name in due:
            meta = stage_meta(state)
            needs = tuple(name for name in state.upstream if name in due)
            took = minutes.get(state.name, meta.minutes)
            jobs.append(Job(state.name, needs, meta.gpus, took, meta.alone))
    return jobs


def stage_meta(state: StageState) -> StageMeta:
    """What dvc.yaml says of the stage's needs. Raises ConfigError for anything else there."""
    try:
        return StageMeta.model_validate(dict(state.meta))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(["meta", *map(str, first["loc"])])
        family = state.name.partition("@")[0]
        known = ", ".join(StageMeta.model_fields)
        raise ConfigError(
            f"dvc.yaml: {family}: {place}: {first['msg'].lower()}, got {first['input']!r} "
            f"(known: {known})"
        ) from None


def selected(states: Sequence[StageState], rows: Sequence[str]) -> list[StageState]:
    """The stages of `rows` and all that these need; every stage where no rows are named.

    Raises ConfigError for a row that no stage has.
    """
    if not rows:
        return list(states)
    known: dict[str, list[str]] = {}
    for state in states:
        _, at, row = state.name.partition("@")
        if at:
            known.setdefault(row, []).append(state.name)
    wanted: set[str] = set()
    for row in rows:
        if row not in known:
            raise ConfigError(f"rows: no row {row!r} in dvc.yaml{suggest(row, known)}")
        wanted.update(known[row])
    for state in reversed(states):
        if state.name in wanted:
            wanted.update(state.upstream)
    return [state for state in states if state.name in wanted]


def critical_minutes(jobs: Sequence[Job]) -> dict[str, float]:
    """For each job the minutes from its start to the end of the longest chain that begins with it.

    `jobs` must have every job after those that it needs.
    """
    longest: dict[str, float] = {job.name: 0.0 for job in jobs}
    for job in reversed(jobs):
        longest[job.name] += job.minutes
        for needed in job.needs:
            longest[needed] = max(longest[needed], longest[job.name])
    return longest


def as_values(job: Job) -> dict[str, Any]:
    """The job as plain values, for plans that machines read."""
    return {
        "stage": job.name, "needs": list(job.needs), "gpus": job.gpus, "minutes": job.minutes
    }  # fmt: skip
