import threading
from pathlib import Path

import pytest

from pipelines import recorded
from pipelines.recorded import NOT_RECORDED, dvc_digest
from t2t.errors import EnvironmentProblem

LOCK = "schema: '2.0'\nstages:\n  train@a:\n    cmd: x\n    outs:\n    - path: data/runs/a\n"
LOCK += "      md5: abc.dir\n"


def test_what_is_not_recorded(tmp_path):
    assert dvc_digest(tmp_path / "x", tmp_path / "dvc.lock") == NOT_RECORDED
    (tmp_path / "dvc.lock").write_text(LOCK)
    assert dvc_digest(tmp_path / "x", tmp_path / "dvc.lock") == NOT_RECORDED


@pytest.mark.parametrize("torn", ["", LOCK[:12], LOCK[:30], LOCK.replace("cmd: x", "cmd: 'x")])
def test_a_lock_that_is_being_written_is_waited_for(tmp_path, torn, monkeypatch):
    monkeypatch.setattr(recorded, "_PAUSE_S", 0.02)
    lock = tmp_path / "dvc.lock"
    lock.write_text(torn)
    writer = threading.Timer(0.2, lock.write_text, [LOCK])
    writer.start()
    assert dvc_digest(Path("data/runs/a"), lock) == "abc.dir"
    writer.join()


def test_a_lock_that_stays_torn_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr(recorded, "_PAUSE_S", 0.001)
    (tmp_path / "dvc.lock").write_text("")
    with pytest.raises(EnvironmentProblem, match=r"dvc\.lock: no whole lock file"):
        dvc_digest(tmp_path / "x", tmp_path / "dvc.lock")
