"""What `dvc repro` would do with each stage, found without running any.

`dvc status` looks at each stage alone. Here its answers are carried down the graph: a stage below
one that runs runs too, unless it gets the same bytes as before, which nobody can know in advance.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from pipelines.graph import Change, Kept, StageState


class Verdict(StrEnum):
    """What becomes of a stage."""

    RUNS = "to run"
    MAY_RUN = "may run"
    RESTORED = "from cache"
    UP_TO_DATE = "up to date"


@dataclass(frozen=True)
class PlannedStage:
    """A stage's verdict, and why, in short sentences: `causes` are what is not as it was about the
    stage itself, `from_above` are the stages that may give it other inputs."""

    name: str
    verdict: Verdict
    causes: tuple[str, ...]
    from_above: tuple[str, ...]
    upstream: tuple[str, ...]

    @property
    def row(self) -> str:
        """The row of a stage like `train@t2t_vit_14`; empty where there is one for all rows."""
        return self.name.partition("@")[2]


def plan_stages(states: Sequence[StageState]) -> list[PlannedStage]:
    """The verdicts over `states`, whose order must put every stage after its upstream."""
    planned: dict[str, PlannedStage] = {}
    unsettled: set[str] = set()  # stages whose outputs may become others
    for state in states:
        above = [name for name in state.upstream if name in unsettled]
        certain = [change for change in state.changes if _is_certain(change, above, planned)]
        verdict = _verdict(state, certain, above)
        restored_otherwise = verdict is Verdict.RESTORED and state.kept is Kept.OTHER_OUTPUTS
        if restored_otherwise or verdict in (Verdict.RUNS, Verdict.MAY_RUN):
            unsettled.add(state.name)
        planned[state.name] = PlannedStage(
            name=state.name,
            verdict=verdict,
            causes=tuple(map(_sentence, certain)),
            from_above=tuple(_of_upstream(planned[name]) for name in above),
            upstream=state.upstream,
        )
    return list(planned.values())


def _is_certain(change: Change, unsettled: Sequence[str], planned: dict[str, PlannedStage]) -> bool:
    """Whether the change is still there when `dvc repro` comes to the stage."""
    if any(maker in unsettled for maker in change.makers):
        return False
    restored = any(planned[maker].verdict is Verdict.RESTORED for maker in change.makers)
    return not (restored and change.returns)


def _verdict(state: StageState, certain: Sequence[Change], unsettled: Sequence[str]) -> Verdict:
    if not certain:
        return Verdict.MAY_RUN if unsettled else Verdict.UP_TO_DATE
    if state.kept is Kept.NOTHING:
        return Verdict.RUNS
    return Verdict.MAY_RUN if unsettled else Verdict.RESTORED


def _sentence(change: Change) -> str:
    if change.kind == "stage":
        return "never run"
    if change.kind == "command":
        return "its command changed"
    if change.how == "deleted":
        return f"{change.name} is not there"
    if change.kind == "param":
        return f"{change.name} changed in params.yaml"
    return f"{change.name} {'is not in the cache' if change.how == 'not in cache' else 'changed'}"


def _of_upstream(above: PlannedStage) -> str:
    if above.verdict is Verdict.RESTORED:
        return f"{above.name} is restored from an earlier run"
    return f"{above.name} {'may' if above.verdict is Verdict.MAY_RUN else 'is to'} run"
