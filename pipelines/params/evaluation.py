"""What is evaluated besides the rows that are trained: further sets, published weights, costs."""

from typing import Annotated

from pydantic import Field

from pipelines.params.reader import ParamsPart


class ExtraSet(ParamsPart):
    """A set that its makers publish; `download` lets it be fetched where it is missing."""

    download: bool = False


class ExtraSets(ParamsPart):
    """`scales.<scale>.extra_sets`: ImageNet-ReaL and ImageNet-V2, where the scale is ImageNet."""

    real: ExtraSet | None = None
    v2: ExtraSet | None = None


class Measure(ParamsPart):
    """`scales.<scale>.measure`: how many images a network is given at once where its throughput
    and its memory are measured."""

    batch_size: Annotated[int, Field(ge=1, le=1 << 20)]


# `released.<row>.weights`: a URL, or a path below T2T_DATA_ROOT or data/downloads.
Weights = Annotated[str, Field(min_length=1)]
Expected = Annotated[float, Field(ge=0, le=100)] | None
# `released.<row>.sha256`: null until the file is first used, which then is told it.
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
