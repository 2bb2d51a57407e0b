"""`analyses.<row>`: rows whose networks are looked into, and on how many validation images."""

from typing import Annotated

from pydantic import Field

from pipelines.params.reader import ParamsPart

Count = Annotated[int, Field(ge=1)]


class Analysis(ParamsPart):
    """images: over which heads and channels are compared; removal_images: on which the network is
    scored without each of its heads. Scales with fewer images take all they have."""

    images: Count
    removal_images: Count
