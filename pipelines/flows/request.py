"""What a coordinator asks of a worker, and how the two tell each other how it goes.

Both are notes on the DVC remote. Each has one writer: the coordinator says which token counts for a
stage's digest, the worker with that token leaves its beat, and in the end how it went. A worker
that finds another token than its own has been given up on, and stops.
"""

import base64
import zlib
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from pipelines.lock_file import entries_of, text_of
from pipelines.params.reader import Name

StageName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}(@[a-z0-9][a-z0-9_-]{0,63})?$")]
Commit = Annotated[str, Field(pattern=r"^[0-9a-f]{40}([0-9a-f]{24})?$")]
Hex = Annotated[str, Field(pattern=r"^[0-9a-f]{16,64}$")]


class Request(BaseModel):
    """One stage for one worker.

    digest: of the stage's command and inputs, as pipelines.remote has it. token: of this attempt.
    upstream: dvc.lock's entries of the stages whose outputs it reads, packed. beat_s: seconds
    between two signs of life.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    commit: Commit
    stage: StageName
    scale: Name
    gpus: Annotated[int, Field(ge=0, le=1024)]
    digest: Hex
    token: Hex
    upstream: str
    beat_s: Annotated[float, Field(gt=0, le=3600)] = 10.0

    @property
    def current_note(self) -> str:
        """Where the coordinator says which token counts."""
        return self.digest

    @property
    def own_note(self) -> str:
        """Where the worker with this request leaves its beat and its end."""
        return f"{self.digest}-{self.token}"

    def upstream_entries(self) -> dict[str, str]:
        """The entries as text by stage."""
        return unpacked(self.upstream)


def packed(entries: Mapping[str, str]) -> str:
    """Entries of dvc.lock as one word: parameters of a flow run are limited to 512 KiB."""
    return base64.b85encode(zlib.compress(text_of(entries).encode(), 9)).decode()


def unpacked(word: str) -> dict[str, str]:
    """The entries that `packed` made the word of."""
    return entries_of(zlib.decompress(base64.b85decode(word)).decode())


def end_note(request: Request, **values: Any) -> dict[str, Any]:
    """What a worker leaves at the end: status, why, lines, log, and whether another may do better
    (`again`)."""
    return {"token": request.token, "ended": True, **values}
