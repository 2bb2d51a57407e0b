"""Whole rows and scales of params.yaml, as the check of the file and the report see them."""

from typing import Annotated, Any

from pydantic import Field

from pipelines.params.data import DataParams, ShardParams
from pipelines.params.evaluation import Expected, ExtraSets, Measure, Sha256, Weights
from pipelines.params.reader import Name, ParamsPart
from pipelines.params.training import (
    CpuThreads,
    FineTuning,
    ModelScale,
    Phase,
    Role,
    RowModel,
    Seeds,
    Start,
)

Title = Annotated[str, Field(min_length=1, max_length=80)]


class Paper(ParamsPart):
    """`rows.<row>.paper`: the paper's figures as printed; `paper: null` where it has none."""

    table: Annotated[int, Field(ge=1, le=7)]
    block: str
    top1_pct: Annotated[float, Field(ge=0, le=100)]
    params_m: Annotated[float, Field(gt=0)]
    macs_g: Annotated[float, Field(gt=0)]
    delta_pct: Annotated[float, Field(ge=-100, le=100)] | None


class Row(ParamsPart):
    """`rows.<row>`: one line of the table."""

    title: Title
    model: RowModel
    train: dict[str, Any]
    baseline: Name | None
    paper: Paper | None


class DerivedRow(Row):
    """`derived.<row>`: a line of the table whose runs need those of the row `needs`."""

    needs: Name
    role: Role
    phase: Phase


class DownstreamSet(ParamsPart):
    """`downstream.<set>`: a data set that rows are transferred to."""

    title: Title
    train: dict[str, Any]


class TransferPaper(ParamsPart):
    """`transfers.<id>.paper`: the paper's figure as printed; `paper: null` where it has none."""

    table: Annotated[int, Field(ge=1, le=7)]
    top1_pct: Annotated[float, Field(ge=0, le=100)]


class Transfer(ParamsPart):
    """`transfers.<id>`: the row `needs`, trained on, on the set `set`."""

    title: Title
    needs: Name
    set: Name
    recipe: Name
    start: Start
    model: RowModel
    train: dict[str, Any]
    paper: TransferPaper | None


class DownstreamData(ParamsPart):
    """`scales.<scale>.downstream.<set>`: what stands for a downstream set at this scale."""

    data: DataParams
    shards: ShardParams


class ReleasedRow(ParamsPart):
    """`released.<row>`: a line of the table whose weights were published, not trained here."""

    title: Annotated[str, Field(min_length=1, max_length=80)]
    model: RowModel
    phase: Phase
    weights: Weights
    sha256: Sha256 | None
    expected_top1_pct: Expected
    baseline: Name | None
    paper: Paper | None


class Scale(ParamsPart):
    """`scales.<scale>`: data, size and length of every run at this scale."""

    description: str
    checks_claims: bool
    data: DataParams
    shards: ShardParams
    model: ModelScale
    seeds: Seeds
    cpu_threads: CpuThreads
    train: dict[str, Any]
    fine: FineTuning
    downstream: dict[str, DownstreamData]
    transfer: dict[str, dict[str, Any]]
    extra_sets: ExtraSets
    measure: Measure
