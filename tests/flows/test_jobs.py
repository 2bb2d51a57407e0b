"""From stages to jobs."""

import pytest

from pipelines.flows.jobs import jobs_of, selected, stage_meta
from pipelines.graph import Change, Kept, StageState
from pipelines.planning.staleness import plan_stages
from t2t.errors import ConfigError

STALE = (Change("stage", "x", "never run"),)


def state(name, upstream=(), changes=(), **meta):
    return StageState(name, tuple(changes), tuple(upstream), Kept.NOTHING, meta)


STATES = [
    state("shard"),
    state("train@a", ["shard"], STALE, gpus=2, minutes=30),
    state("evaluate@a", ["train@a"]),
    state("train@b", ["shard"]),
    state("report", ["evaluate@a", "train@b"]),
]


def test_only_what_may_run_is_a_job_and_waits_only_for_jobs():
    jobs = jobs_of(STATES, plan_stages(STATES), {"report": 0.5})
    assert [(job.name, job.needs, job.gpus, job.minutes) for job in jobs] == [
        ("train@a", (), 2, 30.0),
        ("evaluate@a", ("train@a",), 0, 1.0),
        ("report", ("evaluate@a",), 0, 0.5),
    ]


def test_rows_bring_along_what_they_need_and_no_report():
    names = [found.name for found in selected(STATES, ["a"])]
    assert names == ["shard", "train@a", "evaluate@a"]
    assert selected(STATES, []) == STATES


def test_an_unknown_row_is_named_with_its_nearest():
    with pytest.raises(ConfigError, match="no row 'c' in dvc.yaml.*known here: a, b"):
        selected(STATES, ["c"])


@pytest.mark.parametrize(
    "meta, said",
    [
        ({"gpu": 1}, "train: meta.gpu: extra inputs.*known: gpus, minutes"),
        ({"gpus": -1}, "meta.gpus: .*greater than or equal to 0, got -1"),
        ({"gpus": "1"}, "meta.gpus: .*valid integer, got '1'"),
        ({"minutes": 0.0}, "meta.minutes"),
    ],
)
def test_a_mistake_in_meta_is_said(meta, said):
    with pytest.raises(ConfigError, match=said):
        stage_meta(state("train@a", **meta))
