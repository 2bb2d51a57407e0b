"""A flow's plan and its outcome, as values and as text."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pipelines.flows.jobs import Job, as_values
from pipelines.flows.outcome import Outcome, Status
from pipelines.flows.policy import Room, expected_minutes
from pipelines.planning.staleness import PlannedStage
from t2t.errors import Preempted

_LINES_SHOWN = 5


@dataclass(frozen=True)
class FlowPlan:
    """What a flow is going to do. `uncommitted` are the files that no commit holds, `pool` is the
    name of the workers' where they do it."""

    scale: str
    commit: str | None
    uncommitted: tuple[str, ...]
    stages: tuple[PlannedStage, ...]
    jobs: tuple[Job, ...]
    room: Room
    pool: str = ""

    def as_values(self) -> dict[str, Any]:
        """As plain values, for machines."""
        reasons = {stage.name: [*stage.causes, *stage.from_above] for stage in self.stages}
        return {
            "scale": self.scale,
            "commit": self.commit,
            "uncommitted": list(self.uncommitted),
            "gpus": self.room.gpus,
            "places": self.room.places,
            "pool": self.pool,
            "expected_minutes": expected_minutes(self.jobs, self.room),
            "expected": self.expected(),
            "verdicts": dict(Counter(stage.verdict for stage in self.stages)),
            "jobs": [as_values(job) | {"why": reasons[job.name]} for job in self.jobs],
        }

    def as_text(self) -> str:
        """A few lines for a terminal."""
        counts = Counter(stage.verdict for stage in self.stages)
        stages = ", ".join(f"{count} {verdict}" for verdict, count in sorted(counts.items()))
        lines = [f"Scale {self.scale}, commit {(self.commit or 'none')[:12]}: {stages}"]
        if self.uncommitted:
            lines.append(f"Not in the commit: {', '.join(self.uncommitted)}")
        if self.jobs:
            lines.append(self.expected())
        return "\n".join(lines)

    def expected(self) -> str:
        """How long it may take, in a sentence. How many workers a pool has is not known here."""
        serial_s = sum(job.minutes for job in self.jobs) * 60
        here_s = expected_minutes(self.jobs, self.room) * 60
        here = f"At most {short_time(here_s)} in {_room_text(self.room)}"
        if self.pool:
            here = f"{short_time(here_s)} with enough workers of pool {self.pool}"
        return f"{here}, {short_time(serial_s)} one after the other, as far as known"


@dataclass(frozen=True)
class Summary:
    """What a flow has done. `unsettled` are stages that turned out not to be as they should, by
    name, with what is wrong."""

    plan: FlowPlan
    outcomes: Mapping[str, Outcome]
    seconds: float
    stopped: bool
    unsettled: Mapping[str, str] = field(default_factory=dict)

    @property
    def exit_code(self) -> int:
        """0 where everything asked for is there, 75 where it was stopped, else 1."""
        if self.stopped:
            return Preempted.exit_code
        bad = any(not outcome.status.is_good for outcome in self.outcomes.values())
        return 1 if bad or self.unsettled else 0

    def as_values(self) -> dict[str, Any]:
        """As plain values, for machines."""
        return {
            "commit": self.plan.commit,
            "uncommitted": list(self.plan.uncommitted),
            "scale": self.plan.scale,
            "seconds": round(self.seconds, 3),
            "exit_code": self.exit_code,
            "stages": {name: vars(outcome) for name, outcome in self.outcomes.items()},
            "unsettled": dict(self.unsettled),
        }

    def as_text(self) -> str:
        """How many stages ended how, and of each that did not end well, why."""
        counts = Counter(outcome.status for outcome in self.outcomes.values())
        up_to_date = len(self.plan.stages) - len(self.plan.jobs) + counts.pop(Status.UNCHANGED, 0)
        parts = [f"{counts[status]} {status}" for status in Status if counts[status]]
        parts.append(f"{up_to_date} up to date")
        lines = [f"{', '.join(parts)} in {short_time(self.seconds)}"]
        for name, outcome in self.outcomes.items():
            if outcome.status is Status.FAILED:
                lines.append(f"{name} failed: {outcome.why}")
                lines += [f"    {line}" for line in outcome.lines[-_LINES_SHOWN:]]
                lines += [f"    all of it: {outcome.log}"] if outcome.log else []
        lines += _reasons(self.outcomes, Status.SKIPPED)
        lines += [f"{name} is not settled: {why}" for name, why in self.unsettled.items()]
        if self.stopped:
            lines.append("Stopped; what was under way has saved its state, run it again to go on")
        return "\n".join(lines)


def _reasons(outcomes: Mapping[str, Outcome], status: Status) -> list[str]:
    """One line for each reason, with the stages that share it."""
    shared: dict[str, list[str]] = {}
    for name, outcome in outcomes.items():
        if outcome.status is status:
            shared.setdefault(outcome.why, []).append(name)
    return [f"{_list(names)} {status}: {why}" for why, names in shared.items()]


def _list(names: Sequence[str]) -> str:
    more = f" and {len(names) - _LINES_SHOWN} more" if len(names) > _LINES_SHOWN else ""
    return ", ".join(names[:_LINES_SHOWN]) + more


def _room_text(room: Room) -> str:
    """What a machine has, in words."""
    parts = [f"{room.gpus} GPU{'s' * (room.gpus != 1)}"] if room.gpus else []
    return " and ".join([*parts, f"{room.places} place{'s' * (room.places != 1)}"])


def short_time(seconds: float) -> str:
    """Seconds, minutes or hours, as a person says them."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
