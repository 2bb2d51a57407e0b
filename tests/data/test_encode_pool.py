"""Encoding in several processes: in order, within bounds, and over when this process is."""

import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from t2t.data.encode_pool import CHUNK_SAMPLES, CHUNKS_AHEAD, default_workers, encode
from t2t.data.stored_forms import RawForm
from tests.data.faulty import Counted, Steady

ROOT = Path(__file__).resolve().parents[2]
FORM = RawForm(16, 1.0)


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("count", [1, CHUNK_SAMPLES, 5 * CHUNK_SAMPLES + 3])
def test_everything_comes_in_order(count, workers):
    samples = Steady(count)
    outcomes = list(encode(samples, FORM, workers=workers, stall_timeout_s=60.0))
    assert [image.content for image, _ in outcomes] == [
        samples[index][0].tobytes() for index in range(count)
    ]


def test_there_are_no_more_workers_than_cores_or_work():
    cores = len(os.sched_getaffinity(0))
    assert [default_workers(count) for count in (1, 256, 10**6)] == [1, 1, cores]


def test_workers_wait_for_the_writer(tmp_path):
    """Little is held in memory: nobody runs far ahead of what was taken."""
    outcomes = encode(Counted(1000, folder=tmp_path), FORM, workers=2, stall_timeout_s=60.0)
    next(outcomes)
    time.sleep(1)
    asked = [name.split("-") for name in os.listdir(tmp_path)]
    assert len(asked) == 2 * CHUNKS_AHEAD * CHUNK_SAMPLES
    assert len({process for _, process in asked}) == 2
    outcomes.close()
    for _, process in asked:
        assert not psutil.pid_exists(int(process))


WRITING = """
import sys
from pathlib import Path
from t2t.data.encode_pool import encode
from t2t.data.stored_forms import RawForm
from tests.data.faulty import Counted

if __name__ == "__main__":
    samples = Counted(100_000, folder=Path(sys.argv[1]))
    for _ in encode(samples, RawForm(16, 1.0), workers=2, stall_timeout_s=60.0):
        print("going", flush=True)
"""


@pytest.mark.faults("dead or stuck encoder")
def test_a_killed_parent_leaves_no_orphan(tmp_path, shm_kept_clean):
    script, folder = tmp_path / "writing.py", tmp_path / "asked"
    script.write_text(WRITING)
    folder.mkdir()
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        [sys.executable, script, folder], env=environment, stdout=subprocess.PIPE
    ) as parent:
        assert parent.stdout.readline() == b"going\n"
        children = psutil.Process(parent.pid).children(recursive=True)
        assert len(children) >= 2
        parent.kill()
    _, alive = psutil.wait_procs(children, timeout=10)
    assert not alive


STILLBORN = """
import numpy
from t2t.data.encode_pool import encode
from t2t.data.sources.arrays import ArraySplit
from t2t.data.stored_forms import RawForm

samples = ArraySplit(numpy.zeros((4000, 8, 8), "uint8"), numpy.zeros(4000, "int64"))
print(list(encode(samples, RawForm(16, 1.0), workers=1, stall_timeout_s=60.0)))
"""


@pytest.mark.faults("dead or stuck encoder")
def test_workers_that_die_before_they_read_are_told():
    """A script from standard input cannot be imported by its children, which end at once."""
    result = subprocess.run(
        [sys.executable, "-"],
        input=STILLBORN,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert result.returncode != 0 and "a worker died (exit code 1" in result.stderr
