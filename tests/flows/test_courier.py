"""Checkpoints between workers, by a folder and by URLs."""

import errno
import os
import time

import fsspec
import pytest

from pipelines import remote
from pipelines.flows import courier as courier_module
from pipelines.flows.courier import Courier, carried
from t2t.errors import EnvironmentProblem
from t2t.training.workspace import RUN_SEAL


@pytest.fixture(params=["folder", "memory", "s3"])
def place(request, tmp_path):
    if request.param == "folder":
        yield str(tmp_path / "shared")
    elif request.param == "s3":
        yield request.getfixturevalue("s3").url("checkpoints")
    else:
        yield f"memory://{tmp_path.name}"
        fsspec.filesystem("memory").rm("/", recursive=True)


def training(folder, **files):
    workspace = folder / "digest"
    workspace.mkdir(parents=True, exist_ok=True)
    for name, text in {"lock": "1", ".step.partial": "x", **files}.items():
        (workspace / name.replace("__", ".")).write_text(text)
    return workspace


def test_the_next_worker_finds_what_the_last_one_sent(place, tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    courier = Courier(place, "d1", one)
    training(one, step_1__pt="first", journal__jsonl="a\n")
    courier.send()
    training(one, step_2__pt="second", journal__jsonl="a\nb\n")
    (one / "digest" / "step_1.pt").unlink()
    courier.send()
    assert Courier(place, "d1", two).fetch() == 2
    found = {path.name: path.read_text() for path in (two / "digest").iterdir()}
    assert found == {"step_2.pt": "second", "journal.jsonl": "a\nb\n"}
    assert Courier(place, "other", tmp_path / "three").fetch() == 0
    courier.forget()
    assert Courier(place, "d1", tmp_path / "four").fetch() == 0


def test_a_checkpoint_never_arrives_before_its_journal(tmp_path, monkeypatch):
    """A worker may be killed at any moment, and a checkpoint that knows more is refused."""
    sent = []
    monkeypatch.setattr(Courier, "_send", lambda courier, path: sent.append(path.name))
    courier = Courier(str(tmp_path / "shared"), "d1", tmp_path / "one")
    training(tmp_path / "one", step_1__pt="first", journal__jsonl="a\n", run__json="{}")
    courier.send()
    assert len(sent) == 3 and sent[-1] == "step_1.pt"


@pytest.mark.parametrize("ours", [{"step_1__pt": "ours"}, {"step_3__pt": "", "step_1__pt": "ours"}])
def test_what_has_come_no_further_there_replaces_nothing(ours, place, tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    courier = Courier(place, "d1", one)
    training(one, step_1__pt="theirs", journal__jsonl="theirs\n" * 9)
    courier.send()
    training(two, journal__jsonl="ours\n", **ours)
    assert Courier(place, "d1", two).fetch() == 0


@pytest.mark.parametrize("reached", ["step_9.pt", f"result/{RUN_SEAL}"])
def test_a_stage_that_comes_back_goes_on_where_the_other_worker_left_it(reached, place, tmp_path):
    """With that one's journal: the checkpoint beside an older one is taken for a loss of lines."""
    one, two = tmp_path / "one", tmp_path / "two"
    workspace = training(one, step_5__pt="", journal__jsonl="12345\n")
    Courier(place, "d1", one).send()
    courier = Courier(place, "d1", two)
    courier.fetch()
    theirs = training(two, journal__jsonl="12345\n6789\n")
    (theirs / reached).parent.mkdir(exist_ok=True)
    (theirs / reached).write_text("theirs")
    courier.send()
    Courier(place, "d1", one).fetch()
    assert (workspace / reached).read_text() == "theirs"
    assert (workspace / "journal.jsonl").read_text() == "12345\n6789\n"


PAST_S, FUTURE_S = 1, 10**10


@pytest.mark.parametrize("time_s", [PAST_S, FUTURE_S])
def test_earlier_trainings_of_this_machine_stay_here(time_s, place, tmp_path):
    old = training(tmp_path / "one", step_1__pt="old")
    for path in old.iterdir():
        os.utime(path, (time_s, time_s))
    courier = Courier(place, "d1", tmp_path / "one")
    courier.send()
    assert Courier(place, "d1", tmp_path / "two").fetch() == 0


@pytest.mark.parametrize("is_new", [True, False])
def test_what_is_written_travels_whatever_the_clock_says(is_new, place, tmp_path):
    """One that was set back, or that of a shared disk."""
    if not is_new:
        training(tmp_path / "one", step_1__pt="old")
    courier = Courier(place, "d1", tmp_path / "one")
    for path in training(tmp_path / "one", step_2__pt="new").iterdir():
        os.utime(path, (PAST_S, PAST_S))
    courier.send()
    assert Courier(place, "d1", tmp_path / "two").fetch() == (1 if is_new else 2)
    assert (tmp_path / "two/digest/step_2.pt").read_text() == "new"


def test_a_failed_stage_leaves_its_checkpoints_and_a_made_one_none(place, tmp_path):
    environment = {"T2T_CHECKPOINTS": place}
    with pytest.raises(KeyError), carried(environment, "d1", tmp_path / "one"):
        training(tmp_path / "one", step_1__pt="saved")
        raise KeyError
    with carried(environment, "d1", tmp_path / "two"):
        assert (tmp_path / "two/digest/step_1.pt").read_text() == "saved"
    assert Courier(place, "d1", tmp_path / "three").fetch() == 0


def test_a_place_that_is_gone_for_a_while_costs_nothing(s3, tmp_path, monkeypatch):
    """S3's errors then are no OSError."""
    monkeypatch.setattr(courier_module, "_EVERY_S", 0.1)
    environment = {"T2T_CHECKPOINTS": s3.url("checkpoints")}
    with pytest.raises(KeyError), carried(environment, "d1", tmp_path / "one"):
        s3.stop()
        training(tmp_path / "one", step_1__pt="saved")
        time.sleep(0.5)
        s3.start()
        raise KeyError
    assert Courier(environment["T2T_CHECKPOINTS"], "d1", tmp_path / "two").fetch() == 1


def test_a_place_that_is_away_when_a_stage_begins_is_waited_for(
    place, tmp_path, monkeypatch, capsys
):
    courier = Courier(place, "d1", tmp_path / "one")
    training(tmp_path / "one", step_1__pt="saved")
    courier.send()
    monkeypatch.setattr(remote, "_PAUSE_S", 0)
    right, failures = Courier._there, [ValueError("no OSError"), OSError("away")]

    def there(self):
        if failures:
            raise failures.pop()
        return right(self)

    monkeypatch.setattr(Courier, "_there", there)
    with carried({"T2T_CHECKPOINTS": place}, "d1", tmp_path / "two"):
        assert (tmp_path / "two/digest/step_1.pt").read_text() == "saved"
    assert capsys.readouterr().err.count("T2T_CHECKPOINTS") == 1


def test_a_full_disk_of_ones_own_is_no_place_that_is_away(place, tmp_path, monkeypatch):
    courier = Courier(place, "d1", tmp_path / "one")
    training(tmp_path / "one", step_1__pt="saved")
    courier.send()

    def full(source, target):
        raise OSError(errno.ENOSPC, "No space left on device", target)

    second = Courier(place, "d1", tmp_path / "two")
    monkeypatch.setattr(second._fs, "get_file", full)
    with pytest.raises(EnvironmentProblem, match="no room left") as caught:
        second.fetch()
    assert not isinstance(caught.value, remote.RemoteAway), "and is not waited for"


def test_a_place_that_is_gone_when_a_stage_begins_is_said(s3, tmp_path):
    courier = Courier(s3.url("checkpoints"), "d1", tmp_path / "one")
    s3.stop()
    with pytest.raises(
        EnvironmentProblem, match="T2T_CHECKPOINTS, .*/checkpoints/d1, does not answer .*Could not"
    ):
        courier.fetch()
    s3.start()
