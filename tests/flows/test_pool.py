"""Workers in clones of their own, asked without a server: what they share is the DVC remote."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import fsspec
import pytest

from pipelines.flows import watch as watch_module
from pipelines.flows.clone import check_out
from pipelines.flows.pool import Errand, pool_maker
from pipelines.flows.request import Request, packed, unpacked
from pipelines.flows.tree import head_commit
from pipelines.flows.watch import UNTOLD
from t2t.errors import EnvironmentProblem
from tests.flows.stubs import Stub, stub_stages

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:_NoneStep.value:DeprecationWarning"),
]
ROOT = Path(__file__).resolve().parents[2]
SERVE = (
    "import pathlib, sys; from pipelines.flows.request import Request; "
    "from pipelines.flows.worker import serve; "
    "request = Request.model_validate_json(sys.argv[1]); "
    "sys.exit(not serve(pathlib.Path.cwd(), request, lambda: False).status.is_good)"
)
BEAT_S = 0.3


class Clones:
    """A dispatcher that starts a worker in the first clone that is free."""

    def __init__(self, clones):
        self._free, self._mutex = list(clones), threading.Lock()
        self._waiting, self.workers = [], {}
        self.submitted = []

    def submit(self, request):
        with self._mutex:
            run = str(len(self.submitted))
            self.submitted.append(request.stage)
            self._waiting.append((run, request))
        return run

    def hint(self, run):
        with self._mutex:
            for process, clone in self.workers.values():
                if process.poll() is not None and clone not in self._free and not process.lost:
                    process.lost = True
                    self._free.append(clone)
            while self._waiting and self._free:
                name, request = self._waiting.pop(0)
                self.workers[name] = self._started(request, clone := self._free.pop(0)), clone
        return UNTOLD  # as a server that is gone

    def cancel(self, run):
        pass

    def close(self):
        for process, _ in self.workers.values():
            process.wait(60)

    def _started(self, request, clone):
        check_out(clone, request.commit)
        environment = {
            **os.environ, "PYTHONPATH": str(ROOT), "DVC_SITE_CACHE_DIR": str(clone / ".site_cache")
        }  # fmt: skip
        with open(clone.parent / f"{clone.name}.log", "ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-c", SERVE, request.model_dump_json()],
                cwd=clone, env=environment, start_new_session=True, stdout=log, stderr=log,
            )  # fmt: skip
        process.lost = False
        return process


def stages(folder, extra="true"):
    """Stub stages that say where they run."""
    found = stub_stages(3)
    found["mid"]["do"]["cmd"] = (
        f"echo ${{item}} $PWD >> {folder}/ran; {extra}; " + found["mid"]["do"]["cmd"]
    )
    return found


class Pool:
    """A coordinator's workspace with a remote, and two clones."""

    def __init__(self, folder, graph, remote):
        self.folder = folder
        self.stub = Stub.created(folder / "main", graph)
        (self.stub.folder / "params.yaml").write_text("scale: stub\nscales: {stub: {}}\n")
        self.stub.dvc("remote", "add", "--quiet", "--default", "here", remote)
        self.stub.commit()
        self.clones = Clones([self.clone("one"), self.clone("two")])

    def clone(self, name):
        self.stub.run("git", "clone", "--quiet", str(self.stub.folder), str(self.folder / name))
        return self.folder / name

    def wish(self, folder=None):
        errand = Errand(head_commit(self.stub.folder), "stub", beat_s=BEAT_S, poll_s=0.1)
        return {"places": 64, "maker": pool_maker(errand, self.clones)}

    def ran(self):
        """Which item ran in which clone."""
        lines = (self.folder / "ran").read_text().split("\n")[:-1]
        return [(line.split()[0], Path(line.split()[1]).name) for line in lines]


@pytest.fixture
def pool_of(tmp_path):
    """Makes a pool in tmp_path / "pool" for these stages, whose workers end with the test."""
    made = []

    def create(graph, remote=tmp_path / "pool" / "remote"):
        made.append(Pool(tmp_path / "pool", graph, str(remote)))
        return made[-1]

    yield create
    for pool in made:
        pool.clones.close()


@pytest.fixture(params=["folder", "s3"])
def remote(request, tmp_path):
    """Of each kind that is tried, one."""
    if request.param == "folder":
        return tmp_path / "pool" / "remote"
    return request.getfixturevalue("s3").url("remote")


def test_the_pool_gives_what_a_serial_repro_gives(tmp_path, pool_of, remote, flow):
    pool = pool_of(stages(tmp_path / "pool"), remote)
    ran = flow(pool.stub, **pool.wish())
    assert ran.summary.exit_code == 0, ran.summary.as_text()
    assert set(ran.statuses.values()) == {"made"}
    assert {item for item, _ in pool.ran()} == {"0", "1", "2"}
    assert {clone for _, clone in pool.ran()} == {"one", "two"}, "the coordinator runs nothing"
    assert "up to date" in pool.stub.dvc("status")
    assert (pool.stub.folder / "out/t1").read_text() == "1\n", "git's outputs travel too"
    other = Stub(pool.clone("serial"))
    other.dvc("repro", "--quiet")
    assert other.lock() == pool.stub.lock()
    # Whoever has the same inputs finds what there is: another coordinator asks nobody.
    asked = len(pool.clones.submitted)
    again = Stub(pool.clone("again"))
    assert set(flow(again, **pool.wish()).statuses.values()) == {"from cache"}
    assert len(pool.clones.submitted) == asked and again.lock() == other.lock()


def test_workers_get_what_they_read_though_it_was_made_here(tmp_path, pool_of, remote, flow):
    """By a plain `dvc repro`, which leaves on no remote what git keeps."""
    pool = pool_of(stages(tmp_path / "pool"), remote)
    pool.stub.dvc("repro", "--quiet")
    graph = stages(tmp_path / "pool")
    graph["last"]["cmd"] += " && echo more >> out/last"
    pool.stub.set_stages(graph)
    (pool.stub.folder / ".gitignore").write_text(
        "/data\n/.site_cache\n/out/first\n/out/last\n/out/d*\n"
    )
    pool.stub.commit()
    assert pool.stub.run("git", "ls-files", "out/m0.json"), "as a checkout has it"
    pool.clones = Clones([pool.clone("three")])
    ran = flow(pool.stub, **pool.wish())
    assert ran.summary.exit_code == 0, ran.summary.as_text()
    assert pool.clones.submitted == ["last"]
    assert (pool.stub.folder / "out/last").read_text() == "0\n1\n2\nmore\n"


def test_a_killed_workers_stage_goes_to_another(tmp_path, pool_of, flow):
    folder = tmp_path / "pool"
    pool = pool_of(stages(folder, f"test ${{item}} != 1 || test -e {folder}/go || sleep 60"))

    def kill():
        while True:
            time.sleep(0.1)
            for process, clone in list(pool.clones.workers.values()):
                if process.poll() is not None or not (folder / "ran").exists():
                    continue
                if ("1", clone.name) in pool.ran():
                    (folder / "go").touch()
                    for each in process, *children(process.pid):
                        os.kill(each.pid, signal.SIGKILL)
                    return

    threading.Thread(target=kill, daemon=True).start()
    ran = flow(pool.stub, **pool.wish())
    assert ran.summary.exit_code == 0, ran.summary.as_text()
    assert ran.order("retried") == ["mid@1"]
    assert (
        "has not been heard of" in next(e for e in ran.events if e.kind == "retried").details["why"]
    )
    counts = [item for item, _ in pool.ran()]
    assert sorted(counts) == ["0", "1", "1", "2"]


def test_a_remote_that_is_away_for_a_while_costs_nothing(tmp_path, pool_of, s3, flow, monkeypatch):
    """It goes when a stage runs and comes back when a result waits to be handed in."""
    # A busy machine may keep a worker silent for longer than six of the short beats here.
    monkeypatch.setattr(watch_module, "_BEATS_MISSED", 100)
    folder = tmp_path / "pool"
    pool = pool_of(stages(folder, "sleep 2"), s3.url("remote"))

    def interrupt():
        while not (folder / "ran").exists():
            time.sleep(0.05)
        s3.stop()
        time.sleep(10)
        s3.start()

    thread = threading.Thread(target=interrupt)
    thread.start()
    ran = flow(pool.stub, **pool.wish())
    thread.join()
    assert ran.summary.exit_code == 0, ran.summary.as_text()
    assert ran.order("note"), "the coordinator has said what it waits for"
    assert ran.order("retried") == [] and sorted(item for item, _ in pool.ran()) == ["0", "1", "2"]


def test_a_failure_comes_home_with_the_end_of_its_log(tmp_path, pool_of, flow):
    folder = tmp_path / "pool"
    pool = pool_of(stages(folder, "test ${item} != 2 || { echo what went wrong; exit 3; }"))
    ran = flow(pool.stub, **pool.wish())
    assert ran.statuses["mid@2"] == "failed" and ran.statuses["mid@1"] == "made"
    assert "what went wrong" in ran.summary.as_text()
    assert pool.clones.submitted.count("mid@2") == 1


def test_entries_travel_packed():
    entries = {"a": "  a:\n    cmd: x\n", "b@c": "  b@c:\n    cmd: y\n"}
    assert unpacked(packed(entries)) == entries and unpacked(packed({})) == {}


@pytest.mark.parametrize("wrong", [{"commit": "main"}, {"stage": "a; rm"}, {"token": "../x"}])
def test_a_request_holds_nothing_that_a_shell_or_a_path_could_take_amiss(wrong):
    right = {
        "commit": "0" * 40, "stage": "train@a", "scale": "s", "gpus": 1, "digest": "0" * 64,
        "token": "0" * 32, "upstream": "",
    }  # fmt: skip
    assert Request(**right)
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Request(**right | wrong)


def test_a_commit_that_nobody_has_is_said(tmp_path):
    stub = Stub.created(tmp_path / "stub", stub_stages(1))
    with pytest.raises(EnvironmentProblem, match="commit 0000.* is not to be had of origin"):
        check_out(stub.folder, "0" * 40)


def children(pid):
    import psutil

    return psutil.Process(pid).children(recursive=True)


@pytest.fixture
def exchange(tmp_path, pool_of, remote, monkeypatch):
    from pipelines.keeper import Keeper
    from pipelines.remote import Exchange

    pool = pool_of(stages(tmp_path), remote)
    monkeypatch.chdir(pool.stub.folder)
    keeper = Keeper(pool.stub.folder)
    yield Exchange(keeper)
    keeper.close()


@pytest.fixture
def elsewhere(remote):
    """As another machine sees the remote: its folder, and a client of its own."""
    return fsspec.core.url_to_fs(str(remote), skip_instance_cache=True)


def test_a_result_on_its_way_is_not_there_yet(exchange, elsewhere):
    fs, place = elsewhere
    digest = exchange.digest("first")
    path = f"{place}/runs/{digest[:2]}/{digest}/{'1' * 64}"
    fs.makedirs(fs._parent(path), exist_ok=True)
    fs.pipe_file(f"{path}.partial", b"cmd: half a")
    assert not exchange.fetch(digest)
    fs.pipe_file(f"{path}.partial", b"{cmd: x, outs: [{path: out/first, md5: " + b"a" * 32 + b"}]}")
    fs.mv(f"{path}.partial", path)
    assert not exchange.fetch(digest), "its objects are not there"


def test_notes_on_the_remote_are_whole_or_absent(exchange, elsewhere):
    fs, place = elsewhere
    assert exchange.read_note("n") is None
    exchange.write_note("n", {"beat": 1})
    exchange.write_note("n", {"beat": 2})
    assert exchange.read_note("n") == {"beat": 2}
    (note,) = fs.find(f"{place}/flows")
    fs.pipe_file(note, json.dumps({"beat": 3}).encode()[:5])
    assert exchange.read_note("n") is None
