"""One mirror at a time, and nothing that a stage leaves is lost between two of them."""

import subprocess
import sys
import threading
import time
from pathlib import Path

from t2t.tracking.turns import take_turn

ROOT = Path(__file__).resolve().parents[2]


class Stage:
    """Ends when told."""

    def __init__(self) -> None:
        self.ended = threading.Event()

    def has_ended(self, seconds: float) -> bool:
        return self.ended.wait(min(seconds, 0.01))


class Waiting:
    """Somebody who waits for the turn in a thread of its own."""

    def __init__(self, root: Path):
        self.stage, self.turn, self.answered = Stage(), None, threading.Event()
        self.done = threading.Event()
        self._thread = threading.Thread(target=self._wait, args=(root,))
        self._thread.start()

    def _wait(self, root: Path) -> None:
        with take_turn(root, self.stage.has_ended) as self.turn:
            self.answered.set()
            if self.turn is not None:
                self.done.wait(10)

    def finish(self) -> None:
        self.stage.ended.set()
        self.done.set()
        self._thread.join(10)
        assert not self._thread.is_alive()


def test_the_second_waits_while_the_first_is_at_work_and_then_takes_over(tmp_path):
    with take_turn(tmp_path, Stage().has_ended) as first:
        assert first is not None
        second = Waiting(tmp_path)
        assert not second.answered.wait(0.2)
        first.close()
        assert not second.answered.wait(0.2), "the last pass is the first's still"
    assert second.answered.wait(5) and second.turn is not None
    second.finish()


def test_whoever_ends_before_the_firsts_last_pass_may_leave(tmp_path):
    with take_turn(tmp_path, Stage().has_ended):
        second = Waiting(tmp_path)
        second.stage.ended.set()
        assert second.answered.wait(5) and second.turn is None
        second.finish()


def test_whoever_ends_during_the_firsts_last_pass_makes_one_of_its_own(tmp_path):
    with take_turn(tmp_path, Stage().has_ended) as first:
        second = Waiting(tmp_path)
        first.close()
        second.stage.ended.set()
        assert not second.answered.wait(0.2)
    assert second.answered.wait(5) and second.turn is not None
    second.finish()


def test_of_many_one_is_at_work_and_all_come_to_an_end(tmp_path):
    crowd = [Waiting(tmp_path) for _ in range(8)]
    time.sleep(0.2)
    assert sum(each.turn is not None for each in crowd) == 1
    for each in crowd:
        each.finish()
    assert all(each.answered.is_set() for each in crowd)


def test_waiting_imports_neither_mlflow_nor_torch():
    code = (
        "import sys, pipelines.follow\n"
        "assert not {'mlflow', 'torch', 'numpy'} & set(sys.modules), sorted(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
