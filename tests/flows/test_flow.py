"""Whole flows over DVC as it is: the same as `dvc repro`, and what goes wrong on the way."""

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from pipelines import raw_changes
from pipelines.flows import local, reproduce
from pipelines.flows.folder import sole_flow
from pipelines.flows.tree import set_scale, uncommitted
from pipelines.lock_file import LockFile
from pipelines.params.reader import Params
from t2t.errors import ConfigError, EnvironmentProblem, Preempted
from tests.flows.stubs import Stub, stub_stages

# DVC's own use of pygtrie.
pytestmark = pytest.mark.filterwarnings("ignore:_NoneStep.value:DeprecationWarning")
ROOT = Path(__file__).resolve().parents[2]
MADE = dict.fromkeys(["first", "mid@0", "mid@1", "mid@2", "mid@3", "last"], "made")


@pytest.fixture(scope="module")
def serial(tmp_path_factory):
    """The same stub after a plain `dvc repro`."""
    stub = Stub.created(tmp_path_factory.mktemp("serial") / "stub", stub_stages(4))
    stub.dvc("repro", "-q")
    return stub


def with_middle(cmd, count=4):
    stages = stub_stages(count)
    stages["mid"]["do"]["cmd"] = cmd + "; " + stages["mid"]["do"]["cmd"]
    return stages


def test_lock_and_cache_are_those_of_a_serial_repro(stub, serial, flow):
    ran = flow(stub)
    assert ran.statuses == MADE and ran.summary.exit_code == 0 and not ran.summary.unsettled
    assert stub.lock() == serial.lock()
    assert stub.cached() == serial.cached()
    assert "up to date" in stub.dvc("status")


def test_a_second_flow_does_nothing_and_soon(stub, flow):
    flow(stub)
    before = (stub.folder / "dvc.lock").stat()
    began = time.monotonic()
    ran = flow(stub)
    assert time.monotonic() - began < 10
    assert not ran.summary.outcomes and not ran.events
    assert (stub.folder / "dvc.lock").stat() == before


def test_what_the_cache_holds_is_restored(stub, serial, flow):
    """The run cache serves both; plain outputs of git are not in it, so `mid` runs again."""
    flow(stub)
    shutil.rmtree(stub.folder / "out")
    (stub.folder / "dvc.lock").unlink()
    statuses = flow(stub).statuses
    assert statuses["first"] == statuses["last"] == "from cache"
    assert stub.lock() == serial.lock()


def test_an_edit_makes_only_what_depends_on_it(stub, flow):
    flow(stub)
    stages = stub_stages(4)
    stages["last"]["cmd"] += "; echo more >> out/last"
    stub.set_stages(stages)
    stub.commit()
    assert flow(stub).statuses == {"last": "made"}


def test_a_stage_added_later_stands_where_a_serial_repro_puts_it(serial, tmp_path, flow):
    ours = Stub(tmp_path / "ours")
    shutil.copytree(serial.folder, ours.folder, symlinks=True)
    stages = stub_stages(6)
    ours.set_stages(stages)
    ours.commit()  # with the lock of before
    theirs = Stub(tmp_path / "theirs")
    shutil.copytree(ours.folder, theirs.folder, symlinks=True)
    theirs.dvc("repro", "-q")
    assert flow(ours).statuses == {"mid@4": "made", "mid@5": "made", "last": "made"}
    assert ours.lock() == theirs.lock()


def test_a_failed_stage_is_told_with_its_log_and_the_rest_goes_on(stub, flow):
    stub.set_stages(with_middle("test ${item} != 2 || { echo what went wrong >&2; exit 2; }"))
    stub.commit()
    ran = flow(stub)
    expected = MADE | {"mid@2": "failed", "last": "skipped"}
    assert ran.statuses == expected and ran.summary.exit_code == 1
    text = ran.summary.as_text()
    assert "mid@2 failed: exit code 2" in text and "what went wrong" in text
    assert "last skipped: mid@2 failed" in text
    assert ran.order("retried") == [], "a mistake is not made twice"


@pytest.mark.faults("killed flow or stage")
def test_a_killed_stage_gets_another_try(stub, flow, monkeypatch):
    monkeypatch.setattr(local, "_PAUSE_S", 0)
    stub.set_stages(
        with_middle("test ${item} != 1 || test -e data/k || { touch data/k; kill -9 $$; }")
    )
    stub.commit()
    ran = flow(stub)
    assert ran.statuses == MADE
    assert ran.order("retried") == ["mid@1"] and ran.summary.outcomes["mid@1"].attempts == 2


def test_one_that_is_killed_each_time_is_given_up(stub, flow, monkeypatch):
    monkeypatch.setattr(local, "_PAUSE_S", 0)
    stub.set_stages(with_middle("test ${item} != 1 || exit 75"))
    stub.commit()
    outcome = flow(stub).summary.outcomes["mid@1"]
    assert (str(outcome.status), outcome.attempts) == ("failed", local.MOST_ATTEMPTS)


def test_a_stopped_flow_lets_its_stages_end_and_can_be_run_again(stub, serial, flow):
    """Each stage takes SIGTERM as a training does: it leaves word, then goes."""
    trap = "trap 'echo saved >> data/saved; exit 75' TERM; touch data/began${item}; "
    stub.set_stages(with_middle(trap + "test -e data/go || { sleep 60 & wait; }"))
    stub.commit()
    stop = threading.Event()

    def watch():
        while len(list(stub.folder.glob("data/began*"))) < 2:
            time.sleep(0.05)
        stop.set()

    threading.Thread(target=watch, daemon=True).start()
    began = time.monotonic()
    ran = flow(stub, is_to_stop=stop.is_set, places=2)
    assert time.monotonic() - began < 30
    assert ran.summary.exit_code == 75 and ran.statuses["first"] == "made"
    assert (stub.folder / "data/saved").read_text() == "saved\n" * 2
    (stub.folder / "data/go").touch()
    assert flow(stub).summary.exit_code == 0
    assert "up to date" in stub.dvc("status")


@pytest.mark.faults("inputs edited meanwhile")
def test_an_input_edited_while_a_stage_runs_fails_it(stub, flow):
    stub.set_stages(with_middle("test ${item} != 3 || echo b >> a"))
    stub.commit()
    ran = flow(stub, places=1)
    failed = [name for name, status in ran.statuses.items() if status == "failed"]
    assert "mid@3" in failed
    assert "a changed while mid@3 ran" in ran.summary.outcomes["mid@3"].why
    assert "mid@3:" not in stub.lock()


@pytest.mark.faults("full disk")
def test_a_disk_that_is_full_while_dvc_takes_the_outputs_is_found(stub, flow, monkeypatch):
    """What DVC does then: it logs an error for each file of a folder, and goes on."""
    from dvc.output import Output

    commit = Output.commit

    def lossy(out, *args, **kwargs):
        commit(out, *args, **kwargs)
        if out.def_path == "out/d2":
            entry = out.get_obj()
            (_, _, info) = next(iter(entry))
            Path(out.cache.oid_to_path(info.value)).unlink()

    monkeypatch.setattr(Output, "commit", lossy)
    ran = flow(stub)
    assert ran.statuses["mid@2"] == "failed"
    assert "cache did not take all of out/d2" in ran.summary.outcomes["mid@2"].why
    assert "mid@2:" not in stub.lock()
    monkeypatch.undo()


@pytest.mark.parametrize("owner, name", [(LockFile, "take"), (local, "Session")])
def test_a_full_disk_fails_the_stage_that_finds_it(owner, name, stub, flow, monkeypatch):
    """In DVC's part, and where the command's log is to be opened; the others go on."""
    right = getattr(owner, name)

    def full(*args, **kwargs):
        if any("m2" in str(arg) for arg in args):
            raise OSError(errno.ENOSPC, "No space left on device", "the/file")
        return right(*args, **kwargs)

    monkeypatch.setattr(owner, name, full)
    ran = flow(stub)
    assert ran.statuses == MADE | {"mid@2": "failed", "last": "skipped"}
    assert "the/file: no room left on the disk" in ran.summary.outcomes["mid@2"].why


def test_a_full_disk_under_the_journal_is_one_line(monkeypatch, capsys):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device", "events.jsonl")

    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(reproduce, "_reproduce", full)
    monkeypatch.setattr(reproduce, "_stop_on_signals", lambda: lambda: False)
    assert reproduce.main([]) == EnvironmentProblem.exit_code
    assert capsys.readouterr().err.startswith("flow: events.jsonl: no room left on the disk")


def test_a_missing_output_fails_the_stage(stub, flow):
    stages = stub_stages(4)
    stages["last"]["cmd"] = "true"
    stub.set_stages(stages)
    stub.commit()
    ran = flow(stub)
    assert ran.statuses["last"] == "failed" and "out/last" in ran.summary.outcomes["last"].why


@pytest.fixture
def command(stub, monkeypatch):
    """The command in a stub of two scales; gives its exit code."""
    params = "scale: small\nscales: {small: {cpu_threads: 1}, large: {cpu_threads: 1}}\n"
    (stub.folder / "params.yaml").write_text(params)
    stub.commit()
    monkeypatch.chdir(stub.folder)
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(stub.folder / ".site_cache"))
    monkeypatch.setattr(reproduce, "ROOT", stub.folder)
    monkeypatch.setattr(reproduce, "check_params", Params)
    monkeypatch.setattr(raw_changes, "check_raw", lambda *_: None)  # a stub has no data
    return lambda *words: reproduce._reproduce(reproduce._arguments(words), lambda: False)


@pytest.mark.faults("two at once")
def test_a_flow_that_is_refused_leaves_the_other_its_scale(stub, command):
    with sole_flow(stub.folder, wait=False):
        with pytest.raises(EnvironmentProblem, match=f"already .process {os.getpid()}, since"):
            command("--scale", "large")
    assert (stub.folder / "params.yaml").read_text().startswith("scale: small")


@pytest.mark.faults("two at once")
def test_one_that_waits_for_the_other_can_be_stopped(stub):
    with sole_flow(stub.folder, wait=False):
        with pytest.raises(Preempted, match="stopped while another flow was at work"):
            with sole_flow(stub.folder, wait=True, is_to_stop=lambda: True):
                raise AssertionError("two hold it")


def test_a_flow_that_refuses_what_is_asked_leaves_the_scale_as_it_was(stub, command):
    (stub.folder / "new").write_text("")
    before = (stub.folder / "params.yaml").read_bytes()
    with pytest.raises(ConfigError, match="no commit holds new"):
        command("--scale", "large")
    assert (stub.folder / "params.yaml").read_bytes() == before


@pytest.mark.faults("two at once")
def test_one_may_wait_for_the_other_and_touches_nothing_until_then(stub, command):
    scale = []

    def hold():
        with sole_flow(stub.folder, wait=False):
            held.set()
            time.sleep(1.5)
            scale.append((stub.folder / "params.yaml").read_text().split()[1])

    held = threading.Event()
    holder = threading.Thread(target=hold)
    holder.start()
    assert held.wait(60)
    assert command("--wait", "--scale", "large") == 0
    holder.join()
    assert scale == ["small"]
    assert (stub.folder / "params.yaml").read_text().startswith("scale: large")


@pytest.mark.faults("two at once")
def test_dvc_beside_a_flow_loses_nothing(stub, serial, flow):
    """Another `dvc repro` of a stage while ours run: both are in the lock."""
    stub.set_stages(with_middle("sleep 1"))
    stub.commit()

    def other():
        time.sleep(0.5)
        subprocess.run(
            [sys.executable, "-m", "dvc", "--wait-for-lock", "status", "first"],
            cwd=stub.folder, check=False, capture_output=True,
        )  # fmt: skip

    thread = threading.Thread(target=other)
    thread.start()
    assert flow(stub).summary.exit_code == 0
    thread.join()
    assert "up to date" in stub.dvc("status")


def test_a_dirty_tree_is_refused_or_written_down(stub, flow):
    (stub.folder / "a").write_text("changed\n")
    (stub.folder / "new").write_text("")
    with pytest.raises(ConfigError, match="no commit holds a, new: commit first"):
        flow(stub)
    ran = flow(stub, allow_dirty=True)
    assert ran.summary.exit_code == 0
    assert ran.summary.as_values()["uncommitted"] == ["a", "new"]


def test_what_a_flow_makes_is_not_dirt(stub, flow):
    flow(stub)
    assert "dvc.lock" in stub.run("git", "status", "--porcelain")
    assert uncommitted(stub.folder, [Path("out")], "stub") == []


def test_nor_is_what_it_made_at_another_scale(stub):
    for name in ("reports/small/a.csv", "reports/notes.md"):
        (stub.folder / name).parent.mkdir(parents=True, exist_ok=True)
        (stub.folder / name).write_text("")
    made = [Path("reports/large/a.csv")]
    assert uncommitted(stub.folder, made, "large") == ["reports/notes.md"]


def test_another_scale_is_one_line_of_params_and_no_dirt(tmp_path):
    stub = Stub.created(tmp_path / "stub", stub_stages(1))
    path = stub.folder / "params.yaml"
    path.write_text("scale: small   # a comment\nscales: {small: {}, large: {}}\n")
    stub.commit()
    set_scale(stub.folder, "large")
    assert path.read_text() == "scale: large   # a comment\nscales: {small: {}, large: {}}\n"
    assert uncommitted(stub.folder, [], "large") == []
    path.write_text(path.read_text() + "more: 1\n")
    assert uncommitted(stub.folder, [], "large") == ["params.yaml"]
    with pytest.raises(
        ConfigError, match="scale 'larg' is none of params.yaml; did you mean large"
    ):
        set_scale(stub.folder, "larg")


def test_the_journal_tells_everything(stub, flow):
    ran = flow(stub)
    (folder,) = [path for path in (stub.folder / "data/flows").iterdir() if path.is_dir()]
    events = [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]
    assert [event["kind"] for event in events] == [event.kind for event in ran.events]
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["exit_code"] == 0 and summary["stages"]["last"]["status"] == "made"
    plan = json.loads((folder / "plan.json").read_text())
    assert [job["stage"] for job in plan["jobs"]] == list(MADE)
    assert ran.plan.jobs[1].minutes == 2.0, "of its meta"
    assert len(json.loads((stub.folder / "data/flows/minutes.json").read_text())["stub"]) == 6


@pytest.mark.faults("killed flow or stage")
def test_stages_die_with_a_flow_that_is_killed(tmp_path):
    """SIGKILL of the flow: a stage that leaves with its parent is gone, as ours all do."""
    stages = stub_stages(1)
    child = "from pipelines.parent import leave_with_parent as leave; leave(); import time; "
    child += "open('data/pid', 'w').write(str(__import__('os').getpid())); time.sleep(60)"
    stages["first"]["cmd"] = f'{sys.executable} -c "{child}"'
    stub = Stub.created(tmp_path / "stub", stages)
    driver = (
        "import pathlib; from pipelines.flows.flow import Wish, run_flow; "
        "run_flow(pathlib.Path.cwd(), Wish('stub'), planned=lambda plan: print)"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    flow = subprocess.Popen(
        [sys.executable, "-c", driver], cwd=stub.folder, env=environment,
        stdout=subprocess.DEVNULL,
    )  # fmt: skip
    pid = stub.folder / "data/pid"
    deadline = time.monotonic() + 60
    while not (pid.is_file() and pid.read_text()):
        assert flow.poll() is None and time.monotonic() < deadline
        time.sleep(0.1)
    os.kill(flow.pid, signal.SIGKILL)
    flow.wait()
    while Path(f"/proc/{pid.read_text()}/cmdline").exists():
        if not Path(f"/proc/{pid.read_text()}/cmdline").read_bytes():
            break  # a zombie
        assert time.monotonic() < deadline, "the stage outlived its flow"
        time.sleep(0.1)
