"""The parts of params.yaml that decide the data: `scales.<scale>.data` and `.shards`."""

from typing import Annotated

from pydantic import Field

from pipelines.params.reader import Name, ParamsPart


class DataParams(ParamsPart):
    """`scales.<scale>.data`: the data set, and how validation images are set aside."""

    source: Name
    split_seed: Annotated[int, Field(ge=0)]
    val_fraction: Annotated[float, Field(gt=0, lt=1)]


class ShardParams(ParamsPart):
    """`scales.<scale>.shards`: the stored images; crop_pct is the centre crop's share of a side."""

    image_size: Annotated[int, Field(ge=16, multiple_of=16)]
    crop_pct: Annotated[float, Field(gt=0, le=1)]
