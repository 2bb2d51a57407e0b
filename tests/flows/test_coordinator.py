"""What a coordinator makes of the remote and of the server's hints, told to it one by one."""

import pytest

from pipelines.flows import pool
from pipelines.flows.outcome import Status
from pipelines.flows.pool import Errand, Hint, PoolMaker
from pipelines.remote import RemoteAway
from tests.flows.test_worker import REQUEST

AWAY = RemoteAway("the DVC remote does not answer")


class Told:
    """A remote and a server that say what a list holds, one look after the other.

    A look is what the worker has left, or AWAY, and whether its result is there as a whole.
    """

    def __init__(self, looks, hint):
        self._looks, self._hint, self.events = list(looks), hint, []

    def hint(self, run):
        return self._hint

    def read_note(self, name):
        note, self._has_result = self._looks.pop(0)
        if note is AWAY:
            raise AWAY
        return note

    def fetch(self, digest):
        return self._has_result


@pytest.fixture
def watched(monkeypatch):
    """How the coordinator's watch over one run ends, and the events on the way."""

    def watch(looks, hint=Hint.UNKNOWN):
        told = Told(looks, hint)
        monkeypatch.setattr(pool, "Exchange", lambda keeper: told)
        errand = Errand(REQUEST.commit, REQUEST.scale, poll_s=0.02)
        make = PoolMaker(None, errand, told, told.events.append, lambda: False)
        return make._watched(REQUEST, "run"), [event.kind for event in told.events]

    return watch


def test_a_run_that_is_over_while_the_remote_is_away_is_judged_when_that_is_back(watched):
    looks = [(AWAY, False)] * 3 + [({}, True)]
    assert watched(looks, Hint.IS_OVER) == ({"status": Status.MADE}, ["note"])


def test_nobody_is_silent_while_the_remote_is_away(watched):
    """Ten looks last longer than six beats of the request."""
    beat = {"beat": 1}
    looks = [(beat, False), *[(AWAY, False)] * 10, (beat, False), (beat, True)]
    assert watched(looks)[0] == {"status": Status.MADE}
    ended, _ = watched([(beat, False)] * 11)
    assert ended["again"] and "not been heard of" in ended["why"]


@pytest.mark.parametrize("status", [Status.MADE, Status.RESTORED])
def test_a_result_that_has_not_arrived_whole_is_asked_for_again(status, watched):
    ended, _ = watched([({"ended": True, "status": status, "again": False}, False)])
    assert ended["again"] and "as a whole" in ended["why"]


def test_a_failure_is_the_workers_word(watched):
    ended, _ = watched([({"ended": True, "status": "failed", "why": "exit code 3"}, False)])
    assert not ended["again"] and ended["why"] == "exit code 3"
