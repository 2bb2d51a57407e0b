"""Two at work in one place: the second one waits its turn or is told who is there."""

import fcntl
import os

import pytest

from t2t.errors import EnvironmentProblem
from t2t.tracking.mirror import Mirror
from t2t.training import loop
from t2t.training.run import train_run
from tests.faults.kinds_of_results import make_workspace

pytestmark = [pytest.mark.slow, pytest.mark.faults("two at once")]


def test_a_second_trainer_is_told_which_process_is_there(config, shards, tmp_path, monkeypatch):
    real, told = loop.train_step, []

    def second_one_starts(state, *args, **kwargs):
        if state.step == 3:
            with pytest.raises(EnvironmentProblem) as caught:
                train_run(config, shards, tmp_path / "work", tmp_path / "second", {})
            told.append(str(caught.value))
        return real(state, *args, **kwargs)

    monkeypatch.setattr(loop, "train_step", second_one_starts)
    train_run(config, shards, tmp_path / "work", tmp_path / "out", {})
    assert len(told) == 1 and f"process {os.getpid()} is training this run already" in told[0]
    assert not (tmp_path / "second").exists() and (tmp_path / "out" / "seal.json").exists()


def test_a_second_mirror_passes_over_what_another_delivers(tmp_path):
    make_workspace(tmp_path)
    (workspace,) = tmp_path.iterdir()
    with open(workspace / "mirror.lock", "w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        # Nothing is asked of the server, which is not there.
        assert Mirror(tmp_path, "http://127.0.0.1:9").deliver()
