"""Both servers on PostgreSQL, as the README says for several users."""

import contextlib
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from pipelines.flows.services import services
from tests.e2e.ports import free_port

pytestmark = pytest.mark.slow
FLOW = """
from prefect import flow, task

@task
def half(number: int) -> int:
    return number // 2

@flow(name="halves")
def halves(numbers: list[int]) -> list[int]:
    return [half(number) for number in numbers]

assert halves([2, 4]) == [1, 2]
"""


class PostgreSQL:
    """A cluster of our own below `folder`, on 127.0.0.1 and with a password.

    It does not run as root: then as Debian's user for it.
    """

    def __init__(self, binaries: Path, folder: Path):
        self._binaries, self._data = binaries, folder / "data"
        self._as = ["runuser", "-u", "postgres", "--"] if os.getuid() == 0 else []
        self._port, self._password = free_port(), secrets.token_hex(8)
        word = folder / "password"
        word.write_text(self._password)
        if self._as:
            for path in (folder, word):
                shutil.chown(path, "postgres", "postgres")
        self._run("initdb", "--username=t2t", f"--pwfile={word}", "--auth=scram-sha-256")
        options = f"-p {self._port} -k {folder} -c listen_addresses=127.0.0.1 -c fsync=off"
        self._run("pg_ctl", "start", "--wait", f"--options={options}", f"--log={folder}/log")

    def create(self, database: str) -> None:
        """Makes an empty database."""
        with contextlib.closing(self.connection("postgres")) as connection:
            connection.autocommit = True
            connection.cursor().execute(f"CREATE DATABASE {database}")

    def url(self, scheme: str, database: str) -> str:
        return f"{scheme}://t2t:{self._password}@127.0.0.1:{self._port}/{database}"

    def connection(self, database: str):
        import psycopg2

        return psycopg2.connect(self.url("postgresql", database))

    def rows(self, database: str, query: str) -> list[tuple]:
        with contextlib.closing(self.connection(database)) as connection:
            cursor = connection.cursor()
            cursor.execute(query)
            return cursor.fetchall()

    def stop(self) -> None:
        self._run("pg_ctl", "stop", "--mode=immediate")

    def _run(self, program: str, *words: str) -> None:
        command = [*self._as, str(self._binaries / program), f"--pgdata={self._data}", *words]
        done = subprocess.run(
            command, cwd="/", stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
            check=False, timeout=60,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr


@pytest.fixture
def postgresql():
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not found:
        pytest.skip("PostgreSQL is not installed (apt-get install -y postgresql)")
    # Not below pytest's own folder, which is closed to other users.
    with tempfile.TemporaryDirectory(prefix="t2t-postgresql-") as folder:
        server = PostgreSQL(found[-1].parent, Path(folder))
        yield server
        server.stop()


def leave_one_running(api):
    """As a worker that is gone does."""
    from prefect import flow
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.states import Running

    with SyncPrefectClient(api) as client:
        client.create_flow_run(flow(name="lost")(lambda: None), state=Running())


def test_prefect_and_mlflow_keep_everything_in_postgresql(postgresql, tmp_path, monkeypatch):
    from mlflow import MlflowClient

    postgresql.create("prefect")
    postgresql.create("mlflow")
    monkeypatch.setenv(
        "PREFECT_API_DATABASE_CONNECTION_URL", postgresql.url("postgresql+asyncpg", "prefect")
    )
    monkeypatch.setenv("MLFLOW_BACKEND_STORE_URI", postgresql.url("postgresql+psycopg2", "mlflow"))
    with services(tmp_path, free_port(), free_port()) as running:
        running.start_servers()
        (tmp_path / "halves.py").write_text(FLOW)
        done = subprocess.run(
            [sys.executable, "halves.py"], cwd=tmp_path, env=running.environment(tmp_path),
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        leave_one_running(running.api)
        running.bury()
        client = MlflowClient(running.mlflow)
        run = client.create_run(client.create_experiment("digits")).info.run_id
        client.log_metric(run, "top1", 97.5, step=3)
        client.set_terminated(run)
        (found,) = client.search_runs([client.get_run(run).info.experiment_id], "metrics.top1 > 97")
        assert found.info.status == "FINISHED"
    flows = postgresql.rows("prefect", "SELECT state_type::text, name FROM flow_run")
    assert sorted(state for state, _ in flows) == ["COMPLETED", "CRASHED"]
    tasks = postgresql.rows("prefect", "SELECT state_type::text FROM task_run")
    assert tasks == [("COMPLETED",)] * 2
    assert postgresql.rows("mlflow", "SELECT key, value, step FROM metrics") == [("top1", 97.5, 3)]
    assert not list(tmp_path.rglob("*.db")), "nothing is in sqlite"
