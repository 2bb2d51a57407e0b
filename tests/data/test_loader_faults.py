"""Reading that fails, stalls or ends early: an error that says where, no thread left behind."""

import itertools
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import torch

from t2t.data.beton import BetonFile
from t2t.data.render import Renderer
from t2t.errors import DataError
from tests.data.reading import ENGINES, loader

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("engine", ENGINES)
def test_leaving_early_leaves_no_thread(noise_shard, engine):
    reader = loader(noise_shard, engine=engine, batch_size=2, workers=3)
    before = set(threading.enumerate())
    for taken in range(3):
        batches = reader.epoch(taken)
        next(batches)
        time.sleep(0.05)
        batches.close()
        assert set(threading.enumerate()) <= before
    list(reader.epoch(0))
    assert set(threading.enumerate()) <= before


@pytest.mark.parametrize("engine", ENGINES)
def test_torchs_thread_count_is_kept(noise_shard, engine):
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        reader = loader(noise_shard, engine=engine)
        assert torch.get_num_threads() == 3
        for _ in reader.epoch(0):
            assert torch.get_num_threads() == 3
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


def test_importing_ffcv_keeps_the_thread_count_and_others_modules():
    code = (
        "import torch; torch.set_num_threads(3)\n"
        "from t2t.data.ffcv_import import import_ffcv; import_ffcv()\n"
        "import numba.typed, ffcv.fields.rgb_image as rgb\n"
        "assert torch.get_num_threads() == 3\n"
        "assert numba.typed.Dict.__module__.startswith('numba')\n"
        "assert type(rgb.IMAGE_MODES) is dict\n"
        "import distutils.log; assert distutils.__file__\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_ffcvs_jit_setting_is_left_as_it_was(noise_shard):
    loader(noise_shard, engine="ffcv")
    from ffcv.pipeline.compiler import Compiler

    assert Compiler.is_enabled is True


@pytest.mark.faults("stuck or failing reader")
def test_a_failure_in_ffcvs_thread_is_told(noise_shard, monkeypatch):
    draw = Renderer.draw

    def fails_later(self, epoch, indices, *sizes):
        if 40 in indices:
            raise RuntimeError("bad sector")
        return draw(self, epoch, indices, *sizes)

    monkeypatch.setattr(Renderer, "draw", fails_later)
    reader = loader(noise_shard, engine="ffcv", shuffle=False)
    before, started = set(threading.enumerate()), time.monotonic()
    batches = reader.epoch(0)
    assert len(list(itertools.islice(batches, 5))) == 5
    with pytest.raises(DataError, match="batch 5 of epoch 0 failed .*bad sector"):
        next(batches)
    assert time.monotonic() - started < 10
    assert set(threading.enumerate()) <= before


@pytest.mark.faults("stuck or failing reader")
@pytest.mark.parametrize("engine", ENGINES)
def test_a_stall_is_told(noise_shard, monkeypatch, engine):
    released = threading.Event()
    monkeypatch.setattr(Renderer, "render", lambda *_: released.wait(30))
    reader = loader(noise_shard, engine=engine, stall_timeout_s=0.5)
    before, started = set(threading.enumerate()), time.monotonic()
    with pytest.raises(DataError, match="batch 0 of epoch 0 stalled"):
        next(reader.epoch(0))
    assert time.monotonic() - started < 10
    released.set()
    for thread in set(threading.enumerate()) - before:
        thread.join(10)
    assert set(threading.enumerate()) <= before


@pytest.mark.faults("stuck or failing reader")
@pytest.mark.parametrize("engine", ENGINES)
def test_a_jpeg_that_cannot_be_decoded_is_named(copied, monkeypatch, engine):
    """Damage that nothing has noticed before, as on a disk that fails after the first look."""
    path = copied("jpg")
    beton = BetonFile(path)
    whole, place = bytearray(path.read_bytes()), int(beton.allocations["address"][17])
    whole[place : place + 200] = bytes(200)
    path.write_bytes(whole)
    monkeypatch.setattr("t2t.data.verify._check_hash", lambda *_: None)
    before = set(threading.enumerate())
    with pytest.raises(DataError, match=r"copy.beton: sample 17 is not decodable .*write the"):
        list(loader(path, engine=engine).epoch(0))
    assert set(threading.enumerate()) <= before


UNCHECKED = """
import sys
from pathlib import Path
from t2t.data import verify
from t2t.data.crops import CropPolicy
from t2t.data.loader import ShardLoader
from t2t.errors import DataError
from tests.data.test_beton import mutants

verify._check_hash = lambda *_: None
path = Path(sys.argv[1])
refused = read = 0
for number, damaged in enumerate(mutants(path.read_bytes(), 100, seed=1)):
    path.unlink()
    path.write_bytes(damaged)
    try:
        reader = ShardLoader(
            path, batch_size=8, seed=0, shuffle=True, crop=CropPolicy(), flip_prob=0.5,
            drop_last=False, engine=("torch", "ffcv")[number // 4 % 2], stall_timeout_s=12,
        )
        read += sum(len(batch.labels) for batch in reader.epoch(0)) == reader.num_samples
    except DataError:
        refused += 1
print(refused, read)
"""


def test_unnoticed_damage_neither_hangs_nor_ends_the_process(copied):
    """What a bad disk could do to a shard too large to be hashed at every start."""
    ran = subprocess.run(
        [sys.executable, "-c", UNCHECKED, str(copied("jpg"))],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
        timeout=120,
    )
    refused, read = map(int, ran.stdout.split())
    assert refused > 25 and refused + read > 50


def test_the_shard_is_verified_first(copied):
    path = copied()
    with path.open("r+b") as file:
        file.seek(-3000, os.SEEK_END)
        file.write(b"\x01\x02\x03")
    for engine in ENGINES:
        with pytest.raises(DataError, match="damaged, SHA-256"):
            loader(path, engine=engine)
