"""Prefect as the queue between a coordinator and its workers."""

import sys
import threading
from typing import Any
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.deployments import run_deployment
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError
from prefect.states import Cancelling

from pipelines.flows.patience import asked_once
from pipelines.flows.request import Request
from pipelines.flows.watch import UNTOLD, Hint, State
from t2t.errors import ConfigError


class PrefectDispatcher:
    """Asks the deployment `stage/POOL` for a run. See `pipelines.flows.pool.Dispatcher`.

    It asks once each time: the coordinator asks again, and has results to look for.
    """

    def __init__(self, pool: str):
        self._deployment = f"stage/{pool}"
        self._mutex = threading.Lock()
        self._said = ""

    def check(self) -> None:
        """Raises ConfigError where the server answers, but will take no request."""
        try:
            with asked_once(), get_client(sync_client=True) as client:
                client.read_deployment_by_name(self._deployment)
        except Exception as error:
            self._refuse(error)
            self._say(error)

    def submit(self, request: Request) -> str | None:
        """The flow run's id, None where the server does not answer."""
        try:
            with asked_once():
                run: Any = run_deployment(
                    self._deployment,
                    parameters=request.model_dump(),
                    timeout=0,
                    # Asked twice, because an answer was lost, it is still one run.
                    idempotency_key=request.own_note,
                    tags=[request.scale, request.stage],
                )
        except Exception as error:
            self._refuse(error)
            self._say(error)
            return None
        return str(run.id)

    def hint(self, run: str) -> Hint:
        """What the server says, if it says anything."""
        try:
            with asked_once(), get_client(sync_client=True) as client:
                state = client.read_flow_run(UUID(run)).state
        except ObjectNotFound:
            return Hint(State.NOT_KNOWN)
        except Exception as error:
            self._say(error)
            return UNTOLD
        if state is not None and state.is_final():
            return Hint(State.IS_OVER, state.message or "")
        waits = state is None or state.is_scheduled() or state.is_paused()
        return Hint(State.WAITS if waits else State.RUNS)

    def cancel(self, run: str) -> None:
        """Has the worker stop it, as far as the server can."""
        try:
            with asked_once(), get_client(sync_client=True) as client:
                client.set_flow_run_state(UUID(run), Cancelling())
        except Exception as error:
            self._say(error)

    def _refuse(self, error: Exception) -> None:
        if isinstance(error, ObjectNotFound):
            raise ConfigError(
                f"Prefect knows no deployment {self._deployment}; `prefect --no-prompt deploy "
                "--all` makes those of prefect.yaml"
            ) from None
        if isinstance(error, PrefectHTTPStatusError) and error.response.status_code in (401, 403):
            raise ConfigError(
                f"Prefect's server refuses ({error.response.status_code}): does "
                "PREFECT_API_AUTH_STRING hold its password?"
            ) from None

    def _say(self, error: Exception) -> None:
        said = f"{type(error).__name__}: {error}"
        with self._mutex:
            if said != self._said:
                print(f"Prefect: {said}", file=sys.stderr, flush=True)
            self._said = said
