"""All that a person needs to try the flows on one machine: `python -m pipelines.flows.services`.

Prefect's server, MLflow's server and a worker, on 127.0.0.1 alone, their databases below data/
unless PREFECT_API_DATABASE_CONNECTION_URL and MLFLOW_BACKEND_STORE_URI name others. It deploys
prefect.yaml, says where to look, and stops everything at Ctrl-C or SIGTERM.
"""

import argparse
import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import psutil

from pipelines.environment import ROOT, project_environment
from t2t.errors import EnvironmentProblem, T2TError

HOST = "127.0.0.1"
POOLS = ("workspace", "gpu")
_START_PATIENCE_S, _STOP_PATIENCE_S, _FLOWS_PATIENCE_S = 180.0, 20.0, 90.0
_POLL_S = 0.5


class Services:
    """The processes, each in a session of its own, their output below data/services."""

    def __init__(self, root: Path, prefect_port: int, mlflow_port: int):
        self.root = root
        self.api = f"http://{HOST}:{prefect_port}/api"
        self.mlflow = f"http://{HOST}:{mlflow_port}"
        self._ports = prefect_port, mlflow_port
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        (root / "data" / "mlflow").mkdir(parents=True, exist_ok=True)
        (root / "data" / "services").mkdir(parents=True, exist_ok=True)

    def environment(self, clone: Path) -> dict[str, str]:
        """Of everything that is to talk to these servers; flows work in `clone`."""
        environment = project_environment(os.environ, self.root)
        return environment | {
            "PREFECT_HOME": str(self.root / "data" / "prefect"),
            "PREFECT_API_URL": self.api,
            "PREFECT_SERVER_API_HOST": HOST,
            "PREFECT_CLI_PROMPT": "false",
            "PREFECT_WORKER_QUERY_SECONDS": "2",
            "MLFLOW_TRACKING_URI": self.mlflow,
            "T2T_CLONE": str(clone),
        }

    def start_servers(self) -> None:
        """Returns when both answer. Raises EnvironmentProblem where one does not."""
        self.start_prefect()
        environment = self.environment(self.root)
        environment.setdefault(
            "MLFLOW_BACKEND_STORE_URI", f"sqlite:///{self.root}/data/mlflow/mlflow.db"
        )
        self._start(
            "mlflow",
            ["mlflow", "server", "--workers", "1", "--host", HOST, "--port", str(self._ports[1])]
            + ["--default-artifact-root", f"{self.root}/data/mlflow/artifacts"],
            environment,
        )
        self._wait_for("mlflow", f"{self.mlflow}/health")

    def start_prefect(self) -> None:
        """Prefect's server alone."""
        words = ["prefect", "server", "start", "--host", HOST, "--port", str(self._ports[0])]
        self._start("prefect", words, self.environment(self.root))
        self._wait_for("prefect", f"{self.api}/health")

    def deploy(self) -> None:
        """Makes the pools that prefect.yaml names, and deploys it.

        Each worker's own T2T_CLONE is to stand in it: meanwhile the variable must not be set.
        """
        for pool in POOLS:
            self._run(["prefect", "work-pool", "create", "--overwrite", "--type", "process", pool])
        self._run(["prefect", "--no-prompt", "deploy", "--all"])

    def bury(self) -> None:
        """Calls crashed what Prefect believes to be under way: for when no worker lives.

        Such a run would be Running on the page for ever.
        """
        from prefect.client.orchestration import get_client
        from prefect.client.schemas import filters
        from prefect.settings import PREFECT_API_URL, temporary_settings
        from prefect.states import Crashed, StateType

        alive = [StateType.PENDING, StateType.RUNNING, StateType.CANCELLING]
        state = filters.FlowRunFilterState(type=filters.FlowRunFilterStateType(any_=alive))
        own = temporary_settings({PREFECT_API_URL: self.api})
        with own, get_client(sync_client=True) as client:
            for run in client.read_flow_runs(flow_run_filter=filters.FlowRunFilter(state=state)):
                crashed = Crashed(message="The services ended while it ran; run it again to go on")
                client.set_flow_run_state(run.id, crashed, force=True)

    def start_worker(self, name: str, pool: str, clone: Path, **variables: str) -> None:
        """A worker of `pool` that works in `clone`, on one stage at a time."""
        words = ["prefect", "worker", "start", "--pool", pool, "--name", name, "--limit", "1"]
        environment = self.environment(clone) | variables
        self._start(name, [*words, "--type", "process"], environment, clone)

    def process(self, name: str) -> subprocess.Popen[bytes]:
        """Of a service that was started."""
        return self._running[name]

    def dead(self) -> list[str]:
        """Services that have ended by themselves."""
        return [name for name, process in self._running.items() if process.poll() is not None]

    def stop(self, name: str | None = None) -> None:
        """Stops one or all, the last started first: SIGTERM, and SIGKILL where that is ignored.

        A worker's flows, which it has told to stop, are waited for while the servers still hear
        them: they work in sessions of their own.
        """
        for each in [name] if name else list(reversed(self._running)):
            process = self._running.pop(each)
            begun = _begun_by(process)
            for number in (signal.SIGTERM, signal.SIGTERM, signal.SIGKILL):
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, number)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(_STOP_PATIENCE_S)
                    break
            for left in psutil.wait_procs(begun, _FLOWS_PATIENCE_S)[1]:
                with contextlib.suppress(psutil.NoSuchProcess):
                    left.kill()

    def _start(
        self,
        name: str,
        words: Sequence[str],
        environment: Mapping[str, str],
        folder: Path | None = None,
    ) -> None:
        log = self.root / "data" / "services" / f"{name}.log"
        with open(log, "ab") as stream:
            self._running[name] = subprocess.Popen(
                words,
                cwd=folder or self.root,
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def _run(self, words: Sequence[str]) -> None:
        environment = self.environment(self.root)
        del environment["T2T_CLONE"]
        answer = subprocess.run(
            words, cwd=self.root, env=environment, capture_output=True, text=True, check=False
        )
        if answer.returncode:
            raise EnvironmentProblem(f"{' '.join(words)}: {(answer.stdout + answer.stderr)[-500:]}")

    def _wait_for(self, name: str, url: str) -> None:
        give_up_at = time.monotonic() + _START_PATIENCE_S
        while time.monotonic() < give_up_at and name not in self.dead():
            with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=5) as answer:
                if answer.status == 200:
                    return
            time.sleep(_POLL_S)
        log = self.root / "data" / "services" / f"{name}.log"
        raise EnvironmentProblem(f"{name} does not answer at {url}; see {log}")


def _begun_by(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    try:
        return psutil.Process(process.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


@contextlib.contextmanager
def services(root: Path, prefect_port: int, mlflow_port: int) -> Iterator[Services]:
    """Services that are stopped when the block ends."""
    running = Services(root, prefect_port, mlflow_port)
    try:
        yield running
    finally:
        running.stop()


def main(argv: Sequence[str] | None = None) -> int:
    """Runs until it is told to stop, or a service ends by itself (exit code 4)."""
    parser = argparse.ArgumentParser(prog="services", description=__doc__)
    parser.add_argument("--prefect-port", type=int, default=4200)
    parser.add_argument("--mlflow-port", type=int, default=5000)
    args = parser.parse_args(argv)
    asked = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: asked.set())
    try:
        with services(ROOT, args.prefect_port, args.mlflow_port) as running:
            print("Starting (half a minute)", flush=True)
            running.start_servers()
            running.deploy()
            # A database of others' has runs of others'.
            is_own = "PREFECT_API_DATABASE_CONNECTION_URL" not in os.environ
            if is_own:
                running.bury()
            running.start_worker("worker", "workspace", ROOT)
            print(f"Prefect: {running.api.removesuffix('/api')}\nMLflow:  {running.mlflow}")
            print(f"In another shell:\n  export PREFECT_API_URL={running.api}")
            words = "python -m pipelines.environment prefect deployment run reproduce/local"
            print(f"  .venv/bin/{words}", flush=True)
            while not asked.wait(_POLL_S):
                if dead := running.dead():
                    raise EnvironmentProblem(f"{', '.join(dead)} ended; see data/services")
            running.stop("worker")
            if is_own:
                running.bury()
    except T2TError as error:
        print(f"services: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
