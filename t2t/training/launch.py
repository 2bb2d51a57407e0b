"""One run on several devices: torchrun's agent starts a process for each and watches them."""

from collections.abc import Callable
from typing import Any

from torch.distributed.elastic.multiprocessing.api import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError, record
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from t2t import errors
from t2t.errors import EnvironmentProblem, Preempted, T2TError
from t2t.training.stopping import handlers_restored, leave_with_parent

# What a process has to save its state in after a signal, before it is killed.
GRACE_S = 45


def run_on(processes: int, work: Callable[[], None], label: str) -> None:
    """Calls `work`, which pickles, in `processes` processes that can join a group.

    One that ends with an error or a signal ends the others too, within GRACE_S. Raises the error
    of the first that had one; Preempted where this process or the others were asked to stop.
    """
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=processes,
        run_id="t2t",
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        local_addr="localhost",
        max_restarts=0,
        monitor_interval=0.1,
        shutdown_timeout=GRACE_S,
    )
    try:
        with handlers_restored():  # the agent's own would outlive it
            elastic_launch(config, _worker)(work)
    except SignalException as error:
        raise Preempted(
            f"{label}: stopped by {error.sigval.name}; all is saved, run it again to continue"
        ) from None
    except ChildFailedError as error:
        raise _first_error(error, label) from None


@record
def _worker(work: Callable[[], None]) -> None:
    """A process's whole life. It says by an error, too, that it was asked to stop: one that
    returned would wait for an agent that, shutting down, never lets it go."""
    leave_with_parent()
    work()


def _first_error(failed: ChildFailedError, label: str) -> T2TError:
    rank, failure = failed.get_first_failure()
    message: Any = failure.message  # torch's own: a text, or a dictionary that holds it
    told = message["message"] if isinstance(message, dict) else message
    name, _, text = told.partition(": ")
    kind = getattr(errors, name, None)
    if isinstance(kind, type) and issubclass(kind, T2TError):
        return kind(text)
    cause = f"signal {-failure.exitcode}" if failure.exitcode < 0 else told
    return EnvironmentProblem(
        f"{label}: its process {rank} ended ({cause}) and the others were stopped; what was saved "
        "is kept, run it again to continue"
    )
