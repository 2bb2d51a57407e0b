"""A worker's part around the stage, its remote and the making of the stage being stand-ins."""

import time

import pytest

from pipelines.flows import worker
from pipelines.flows.courier import Courier
from pipelines.flows.local import may_do_better_elsewhere
from pipelines.flows.outcome import Outcome, Status
from pipelines.flows.request import Request
from pipelines.remote import RemoteAway
from t2t.errors import EnvironmentProblem

REQUEST = Request(
    commit="0" * 40, stage="train@a", scale="s", gpus=0, digest="d" * 64, token="0" * 32,
    upstream="", beat_s=0.01,
)  # fmt: skip


class Remote:
    """An Exchange that takes what it is given, or refuses by `error`."""

    def __init__(self, error=None, away=None):
        self.error, self.away = error, away

    def provide(self, entries):
        if self.away:
            raise self.away

    def digest(self, name):
        return REQUEST.digest

    def publish(self, name):
        if self.error:
            raise self.error


@pytest.fixture
def make(tmp_path, monkeypatch):
    """Has the worker make its stage, which leaves a checkpoint, and hand it in to a remote."""
    monkeypatch.setenv("T2T_CHECKPOINTS", str(tmp_path / "shared"))
    monkeypatch.setattr(Request, "upstream_entries", lambda self: {})

    def made(root, *rest):
        workspace = root / "data" / "checkpoints" / "digest"
        workspace.mkdir(parents=True)
        (workspace / "step_1.pt").write_text("hours of work")
        return Outcome(Status.MADE)

    monkeypatch.setattr(worker, "_made", made)
    return lambda remote: worker._make(tmp_path / "a", REQUEST, None, remote, None, lambda: False)


def test_a_worker_that_does_not_reach_the_remote_leaves_the_stage_to_another(make, monkeypatch):
    monkeypatch.setattr(worker, "patiently", lambda call, is_to_stop: call())
    away = RemoteAway("the DVC remote does not answer")
    assert may_do_better_elsewhere(make(Remote(away=away)))
    assert not may_do_better_elsewhere(make(Remote(EnvironmentProblem("no room"))))


def test_a_beat_outlives_every_kind_of_error():
    class Flaky:
        failures = [KeyError("no OSError"), OSError("away"), RemoteAway("away")]

        def write_note(self, name, content):
            if self.failures:
                raise self.failures.pop()

        def read_note(self, name):
            return {"token": "another's"}

    with worker.Beat(Flaky(), REQUEST) as beat:
        deadline = time.monotonic() + 10
        while not beat.is_superseded:
            assert time.monotonic() < deadline, "it beats no more"
            time.sleep(0.01)


def shared(folder):
    return Courier(str(folder / "shared"), REQUEST.digest, folder / "b").fetch()


def test_checkpoints_are_kept_for_others_until_the_result_is_handed_in(make, tmp_path):
    outcome = make(Remote(EnvironmentProblem("the remote did not take 1 objects")))
    assert outcome.status is Status.FAILED and "did not take" in outcome.why
    assert shared(tmp_path) == 1


def test_a_result_that_is_handed_in_needs_none(make, tmp_path):
    assert make(Remote()).status is Status.MADE
    assert shared(tmp_path) == 0
