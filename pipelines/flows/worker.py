"""A worker's part: one stage, in a clone of its own, inputs and results through the DVC remote.

`python -m pipelines.flows.worker REQUEST.json`, started by pipelines.flows.clone, from which it
inherits the lock of a clone that has the request's commit checked out.
"""

import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from pipelines.environment import ROOT, project_environment
from pipelines.flows.courier import carried
from pipelines.flows.folder import new_folder
from pipelines.flows.gpus import NONE_HELD, GpuPool, Held, visible_gpus
from pipelines.flows.jobs import Job
from pipelines.flows.local import LocalMaker, may_do_better_elsewhere
from pipelines.flows.outcome import Event, Outcome, Status
from pipelines.flows.request import Request, end_note
from pipelines.flows.tree import set_scale
from pipelines.keeper import Keeper
from pipelines.remote import Exchange, RemoteAway, patiently
from t2t.errors import EnvironmentProblem, T2TError
from t2t.training.stopping import leave_with_parent

_POLL_S = 1.0


class Beat:
    """This worker's sign of life, left on the remote every few seconds while the block runs."""

    def __init__(self, exchange: Exchange, request: Request):
        self._exchange, self._request = exchange, request
        self._done = threading.Event()
        self.is_superseded = False
        self._thread = threading.Thread(target=self._work, name="beat", daemon=True)

    def __enter__(self) -> "Beat":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _work(self) -> None:
        count = 0
        while True:
            count += 1
            note = {"token": self._request.token, "beat": count, "worker": socket.gethostname()}
            try:
                self._exchange.write_note(self._request.own_note, note)
                current = self._exchange.read_note(self._request.current_note) or {}
                self.is_superseded |= current.get("token", note["token"]) != note["token"]
            except Exception:
                pass  # of whatever kind: the coordinator has patience, and the stage goes on
            if self._done.wait(self._request.beat_s):
                return


def serve(root: Path, request: Request, is_to_stop: Callable[[], bool]) -> Outcome:
    """Makes the stage, hands it in, leaves word of how it went; for the holder of `sole_flow`."""
    set_scale(root, request.scale)
    # Before the first beat: a driver that does not work here is no fault of the stage's.
    gpus = GpuPool(visible_gpus(os.environ))
    keeper = Keeper(root)
    try:
        exchange = Exchange(keeper)
        with Beat(exchange, request) as beat:
            outcome = _make(
                root, request, keeper, exchange, gpus, lambda: is_to_stop() or beat.is_superseded
            )
        end = end_note(
            request,
            status=outcome.status,
            why=outcome.why,
            lines=outcome.lines,
            again=may_do_better_elsewhere(outcome),
            worker=socket.gethostname(),
        )
        patiently(lambda: exchange.write_note(request.own_note, end), is_to_stop)
    finally:
        keeper.close()
    return outcome


def _make(
    root: Path,
    request: Request,
    keeper: Keeper,
    exchange: Exchange,
    gpus: GpuPool,
    is_to_stop: Callable[[], bool],
) -> Outcome:
    try:
        patiently(lambda: exchange.provide(request.upstream_entries()), is_to_stop)
        if exchange.digest(request.stage) != request.digest:
            raise EnvironmentProblem(
                f"{request.stage} has other inputs here than at the coordinator, at commit "
                f"{request.commit[:12]}: is something there not committed?"
            )
        with carried(os.environ, request.digest, root / "data" / "checkpoints", is_to_stop):
            outcome = _made(root, request, keeper, gpus, is_to_stop)
            if not outcome.status.is_good:
                raise _NotMade(outcome)
            # In the block, at whose end the checkpoints are deleted.
            patiently(lambda: exchange.publish(request.stage), is_to_stop)
    except _NotMade as not_made:
        return not_made.outcome
    except RemoteAway as error:
        return Outcome(Status.STOPPED, why=str(error))  # another worker may reach it
    except T2TError as error:
        return Outcome(Status.FAILED, why=str(error))
    return outcome


def _made(
    root: Path,
    request: Request,
    keeper: Keeper,
    gpus: GpuPool,
    is_to_stop: Callable[[], bool],
) -> Outcome:
    wanted = min(request.gpus, len(gpus.ids))
    held: Held | None = NONE_HELD
    while wanted and (held := gpus.try_hold(wanted)) is None:
        if is_to_stop():
            return Outcome(Status.STOPPED, why="asked to stop")
        time.sleep(_POLL_S)
    assert held is not None
    make = LocalMaker(keeper, new_folder(root), _print, is_to_stop)
    try:
        return make(Job(request.stage, (), request.gpus, 1.0), held)
    finally:
        held.release()


class _NotMade(Exception):
    """Carries an outcome out of the block that carries checkpoints."""

    def __init__(self, outcome: Outcome):
        super().__init__(outcome.why)
        self.outcome = outcome


def _print(event: Event) -> None:
    print(f"{event.stage}: {event.kind} {event.details}", flush=True)


def main() -> int:
    """The exit code says whether the result is on the remote."""
    leave_with_parent()
    os.environ.update(project_environment(os.environ))
    os.chdir(ROOT)
    asked = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: asked.set())
    request = Request.model_validate_json(Path(sys.argv[1]).read_text())
    try:
        outcome = serve(ROOT, request, asked.is_set)
    except T2TError as error:
        print(f"worker: {error}", file=sys.stderr)
        return error.exit_code
    print(f"{request.stage}: {outcome.status} {outcome.why}", *outcome.lines, sep="\n")
    return 0 if outcome.status.is_good else 1


if __name__ == "__main__":
    sys.exit(main())
