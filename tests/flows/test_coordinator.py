"""What a coordinator makes of the remote and of the server's hints, told to it one by one."""

import time
from dataclasses import replace

import pytest

from pipelines.flows import pool, watch
from pipelines.flows.gpus import NONE_HELD
from pipelines.flows.jobs import Job
from pipelines.flows.outcome import Status
from pipelines.flows.pool import Errand, PoolMaker
from pipelines.flows.watch import UNTOLD, Hint, State
from pipelines.keeper import Found
from pipelines.remote import RemoteAway
from tests.flows.test_worker import REQUEST

AWAY = RemoteAway("the DVC remote does not answer")


class Told:
    """A remote and a server that say what a list holds, one look after the other.

    A look is what the worker has left, or AWAY, and whether its result is there as a whole; after
    the last look it is the same for ever. To ask for the result takes `fetch_s`.
    """

    def __init__(self, looks, hint, fetch_s=0.0):
        self._looks, self._hint, self.events, self._fetch_s = list(looks), hint, [], fetch_s

    def hint(self, run):
        return self._hint

    def read_note(self, name):
        note, self._has_result = self._looks.pop(0) if self._looks[1:] else self._looks[0]
        if note is AWAY:
            raise AWAY
        return note

    def fetch(self, digest):
        time.sleep(self._fetch_s)
        return self._has_result


@pytest.fixture
def watched(monkeypatch):
    """How the coordinator's watch over one run ends, and the events on the way."""

    def watch(looks, hint=UNTOLD, fetch_s=0.0):
        told = Told(looks, hint, fetch_s)
        monkeypatch.setattr(pool, "Exchange", lambda keeper: told)
        errand = Errand(REQUEST.commit, REQUEST.scale, poll_s=0.02)
        make = PoolMaker(None, errand, told, told.events.append, lambda: False)
        return make._watched(REQUEST, "run", 1), [event.kind for event in told.events]

    return watch


OVER = Hint(State.IS_OVER, "ConfigError: a worker would sweep b")


def test_a_run_that_is_over_while_the_remote_is_away_is_judged_when_that_is_back(watched):
    looks = [(AWAY, False)] * 3 + [({}, True)]
    ended, kinds = watched(looks, OVER)
    assert ended["status"] is Status.MADE and kinds == ["note", "started"]


def test_nobody_is_silent_while_the_remote_is_away(watched):
    """Ten looks last longer than six beats of the request."""
    beat = {"beat": 1}
    looks = [(beat, False), *[(AWAY, False)] * 10, (beat, False), (beat, True)]
    assert watched(looks)[0]["status"] is Status.MADE
    ended, _ = watched([(beat, False)])
    assert ended["again"] and "not been heard of" in ended["why"] and not ended["interrupted"]


def test_nobody_is_silent_while_the_coordinator_does_not_listen(watched):
    """Each look takes longer than six beats, in which another stage's result is brought."""
    looks = [({"beat": count}, count == 4) for count in range(1, 5)]
    assert watched(looks, fetch_s=0.1)[0]["status"] is Status.MADE


def test_a_worker_that_never_began_says_why_by_its_run(watched):
    ended, kinds = watched([({}, False)], OVER)
    assert ended["again"] and ended["interrupted"] and ended["why"].endswith("would sweep b")
    assert kinds == [], "nothing has started"


def test_a_run_that_the_server_has_lost_is_asked_for_again(watched):
    ended, _ = watched([({}, False)], Hint(State.NOT_KNOWN))
    assert ended["again"] and "knows its run no more" in ended["why"]
    looks = [({"beat": 1}, False), ({"beat": 2}, True)]
    assert watched(looks, Hint(State.NOT_KNOWN))[0]["status"] is Status.MADE, "it lives"


def test_a_worker_that_took_a_run_and_died_at_once_is_noticed(watched, monkeypatch):
    """Prefect itself has such a run as running for ever."""
    monkeypatch.setattr(watch, "_BEGIN_PATIENCE_S", 0.1)
    ended, _ = watched([({}, False)], Hint(State.RUNS))
    assert ended["again"] and "has not begun" in ended["why"]
    looks = [({}, False)] * 20 + [({}, True)]
    assert watched(looks, Hint(State.WAITS))[0]["status"] is Status.MADE, "in a queue it may wait"


def test_a_pool_without_workers_is_said_once(watched, monkeypatch):
    monkeypatch.setattr(pool, "_NOBODY_S", 0.05)
    looks = [({}, False)] * 20 + [({"beat": 1}, True)]
    ended, kinds = watched(looks, Hint(State.WAITS))
    assert ended["status"] is Status.MADE and kinds == ["note", "started"]


class Refused(Told):
    """A pool in which each run is over before it began, but for the last."""

    def __init__(self, bad_runs):
        super().__init__([({}, False)], OVER)
        self.bad_runs, self.runs = bad_runs, 0

    def submit(self, request):
        self.runs += 1
        return str(self.runs)

    def fetch(self, digest):
        return self.runs > self.bad_runs

    def digest(self, name):
        return REQUEST.digest

    def upstream_entries(self, name):
        return {}

    def write_note(self, name, content):
        pass


class Kept:
    """A keeper of a stage that reads nothing."""

    def __init__(self):
        self.found = [Found.TO_RUN, Found.RESTORED]

    def begin(self, name):
        return self.found.pop(0)

    def abandon(self, name):
        pass

    def upstream(self, name):
        return []


@pytest.mark.parametrize("bad_runs", [6, 30])
def test_a_bad_worker_uses_up_no_attempts_but_not_for_ever(bad_runs, monkeypatch):
    told = Refused(bad_runs)
    monkeypatch.setattr(pool, "Exchange", lambda keeper: told)
    monkeypatch.setattr(pool, "_LONGEST_PAUSE_S", 0.01)
    errand = Errand(REQUEST.commit, REQUEST.scale, poll_s=0.001)
    make = PoolMaker(Kept(), errand, told, told.events.append, lambda: False)
    outcome = make(Job("train@a", (), 0, 1.0), NONE_HELD)
    if bad_runs == 6:
        assert outcome.status is Status.MADE and outcome.attempts == 7
    else:
        assert outcome.status is Status.FAILED and outcome.attempts == pool.MOST_INTERRUPTIONS
        assert outcome.why.endswith("would sweep b")


def test_pauses_grow_with_interruptions_alone():
    tries = pool._Tries()
    failed, stopped = ({"status": status} for status in (Status.FAILED, Status.STOPPED))
    waits = [tries.add(ended, 2.0) for ended in (failed, stopped, stopped, failed, *[stopped] * 9)]
    assert waits[:5] == [0, 4, 8, 0, 16] and waits[-1] == 60
    assert not tries.is_enough and tries.count == 13
    assert replace(tries, failures=pool.MOST_ATTEMPTS).is_enough


@pytest.mark.parametrize("status", [Status.MADE, Status.RESTORED])
def test_a_result_that_has_not_arrived_whole_is_asked_for_again(status, watched):
    ended, _ = watched([({"ended": True, "status": status, "again": False}, False)])
    assert ended["again"] and "as a whole" in ended["why"]


def test_a_failure_is_the_workers_word(watched):
    ended, _ = watched([({"ended": True, "status": "failed", "why": "exit code 3"}, False)])
    assert not ended["again"] and ended["why"] == "exit code 3"
