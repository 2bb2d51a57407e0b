"""How long Prefect's server is waited for."""

from contextlib import AbstractContextManager
from typing import Any

from prefect.settings import (
    PREFECT_API_REQUEST_TIMEOUT,
    PREFECT_CLIENT_MAX_RETRIES,
    temporary_settings,
)

PATIENCE_S = 10


def asked_once() -> AbstractContextManager[Any]:
    """What the block asks of the server it asks once, and for PATIENCE_S.

    Prefect's client itself waits a minute for an answer, asks five times more, and pauses between.
    """
    return temporary_settings(
        {PREFECT_CLIENT_MAX_RETRIES: 0, PREFECT_API_REQUEST_TIMEOUT: PATIENCE_S}
    )
