"""Batches: the same from both engines, from any point, for any number of workers."""

import hashlib
import itertools
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from t2t.data.beton import BetonFile
from t2t.data.crops import CropPolicy, Renderer
from t2t.data.loader import ShardLoader
from t2t.data.shard_manifest import manifest_path
from t2t.errors import ConfigError, DataError

ENGINES = ("torch", "ffcv")
ROOT = Path(__file__).resolve().parents[2]


def loader(path, **arguments) -> ShardLoader:
    given = {
        "batch_size": 8,
        "seed": 1,
        "shuffle": True,
        "crop": CropPolicy(),
        "flip_prob": 0.5,
        "drop_last": False,
        "engine": "torch",
    }
    return ShardLoader(path, **given | arguments)


def fingerprint(batches) -> str:
    digest = hashlib.sha256()
    for batch in batches:
        for tensor in batch:
            digest.update(f"{tensor.dtype} {tuple(tensor.shape)}".encode())
            digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()


def by_sample(batches) -> dict[int, tuple[bytes, int]]:
    return {
        int(index): (image.numpy().tobytes(), int(label))
        for batch in batches
        for image, label, index in zip(*batch, strict=True)
    }


@pytest.mark.parametrize("crop", [None, CropPolicy(), CropPolicy((0.5, 0.9), (1.0, 2.0))])
@pytest.mark.parametrize("shard", ["digits_shard", "noise_shard"])
def test_engines_give_the_same_bytes(request, shard, crop):
    path = request.getfixturevalue(shard)
    prints = [
        [fingerprint(loader(path, engine=engine, crop=crop).epoch(epoch)) for epoch in range(3)]
        for engine in ENGINES
    ]
    assert prints[0] == prints[1] and len(set(prints[0])) == 3


@pytest.mark.parametrize("engine", ENGINES)
def test_evaluation_gives_each_stored_sample_once_in_order(digits_shard, engine):
    batches = list(
        loader(
            digits_shard, engine=engine, batch_size=50, shuffle=False, crop=None, flip_prob=0.0
        ).epoch(0)
    )
    assert [len(batch.labels) for batch in batches] == [50] * 7 + [10]
    beton = BetonFile(digits_shard)
    stored = np.stack([beton.pixels(i) for i in range(360)]).transpose(0, 3, 1, 2)
    assert (torch.cat([batch.images for batch in batches]).numpy() == stored).all()
    assert (torch.cat([batch.labels for batch in batches]).numpy() == beton.labels).all()
    assert torch.cat([batch.indices for batch in batches]).tolist() == list(range(360))
    first = batches[0]
    assert first.images.dtype == torch.uint8 and first.images.is_contiguous()
    assert first.labels.dtype == first.indices.dtype == torch.int64


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(("drop_last", "batches", "samples"), [(False, 7, 53), (True, 6, 48)])
def test_drop_last(noise_shard, engine, drop_last, batches, samples):
    reader = loader(noise_shard, engine=engine, drop_last=drop_last)
    seen = [index for batch in reader.epoch(0) for index in batch.indices.tolist()]
    assert reader.num_batches == batches and reader.num_samples == 53
    assert len(seen) == len(set(seen)) == samples
    assert reader.classes == ("a", "b") and reader.engine == engine


@pytest.mark.parametrize("engine", ENGINES)
def test_a_shard_smaller_than_a_batch(noise_shard, engine):
    assert len(list(loader(noise_shard, engine=engine, batch_size=100).epoch(0))) == 1
    dropped = loader(noise_shard, engine=engine, batch_size=100, drop_last=True)
    assert dropped.num_batches == 0 and list(dropped.epoch(0)) == []


@pytest.mark.parametrize("engine", ENGINES)
def test_an_epoch_entered_late_goes_on_as_if_read_from_its_start(noise_shard, engine):
    reader = loader(noise_shard, engine=engine)
    whole = list(reader.epoch(2))
    for start in range(reader.num_batches + 1):
        fresh = loader(noise_shard, engine=engine)
        assert fingerprint(fresh.epoch(2, start)) == fingerprint(whole[start:])


@pytest.mark.parametrize("engine", ENGINES)
def test_workers_and_batch_size_change_no_pixel(noise_shard, engine):
    expected = by_sample(loader(noise_shard, workers=1).epoch(1))
    for workers, batch_size in ((1, 5), (2, 8), (4, 53)):
        reader = loader(noise_shard, engine=engine, workers=workers, batch_size=batch_size)
        assert by_sample(reader.epoch(1)) == expected


def test_order_and_pixels_change_with_seed_and_epoch(noise_shard):
    def seen(seed: int, epoch: int):
        return list(loader(noise_shard, seed=seed).epoch(epoch))

    runs = {(seed, epoch): seen(seed, epoch) for seed in range(2) for epoch in range(2)}
    orders = {place: torch.cat([b.indices for b in run]).tolist() for place, run in runs.items()}
    pixels = {place: by_sample(run) for place, run in runs.items()}
    for one, other in itertools.combinations(runs, 2):
        assert orders[one] != orders[other]
        assert sum(pixels[one][i] == pixels[other][i] for i in range(53)) < 3


@pytest.mark.parametrize("engine", ENGINES)
def test_two_epochs_at_once_do_not_disturb_each_other(noise_shard, engine):
    reader = loader(noise_shard, engine=engine)
    pairs = list(zip(reader.epoch(0), reader.epoch(1), strict=True))
    for epoch in range(2):
        assert fingerprint(p[epoch] for p in pairs) == fingerprint(reader.epoch(epoch))


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


def test_importing_ffcv_keeps_the_thread_count_and_numbas_dictionary():
    code = (
        "import torch; torch.set_num_threads(3)\n"
        "from t2t.data.ffcv_import import import_ffcv; import_ffcv()\n"
        "import numba.typed, ffcv.fields.rgb_image as rgb\n"
        "assert torch.get_num_threads() == 3\n"
        "assert numba.typed.Dict.__module__.startswith('numba')\n"
        "assert type(rgb.IMAGE_MODES) is dict\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_ffcvs_jit_setting_is_left_as_it_was(noise_shard):
    loader(noise_shard, engine="ffcv")
    from ffcv.pipeline.compiler import Compiler

    assert Compiler.is_enabled is True


def test_a_failure_in_ffcvs_thread_is_told(noise_shard, monkeypatch):
    render = Renderer.render

    def fails_later(self, out, epoch, indices, images):
        if 40 in indices:
            raise RuntimeError("bad sector")
        render(self, out, epoch, indices, images)

    monkeypatch.setattr(Renderer, "render", fails_later)
    reader = loader(noise_shard, engine="ffcv", shuffle=False)
    before, started = set(threading.enumerate()), time.monotonic()
    batches = reader.epoch(0)
    assert len(list(itertools.islice(batches, 5))) == 5
    with pytest.raises(DataError, match="batch 5 of epoch 0 failed .*bad sector"):
        next(batches)
    assert time.monotonic() - started < 10
    assert set(threading.enumerate()) <= before


def test_a_stall_in_ffcvs_thread_is_told(noise_shard, monkeypatch):
    released = threading.Event()
    monkeypatch.setattr(Renderer, "render", lambda *_: released.wait(30))
    reader = loader(noise_shard, engine="ffcv", stall_timeout_s=0.5)
    before, started = set(threading.enumerate()), time.monotonic()
    with pytest.raises(DataError, match="batch 0 of epoch 0 stalled"):
        next(reader.epoch(0))
    assert time.monotonic() - started < 10
    released.set()
    for thread in set(threading.enumerate()) - before:
        thread.join(10)
    assert set(threading.enumerate()) <= before


def test_the_shard_is_verified_first(noise_shard, tmp_path):
    path = tmp_path / "x.beton"
    shutil.copy(noise_shard, path)
    shutil.copy(manifest_path(noise_shard), manifest_path(path))
    with path.open("r+b") as file:
        file.seek(-3000, os.SEEK_END)
        file.write(b"\x01\x02\x03")
    for engine in ENGINES:
        with pytest.raises(DataError, match="damaged, SHA-256"):
            loader(path, engine=engine)


WITHOUT_FFCV = """
import hashlib, sys
from pathlib import Path

for name in ("ffcv", "numba", "cv2", "sklearn", "pydantic", "scipy", "mlflow"):
    sys.modules[name] = None  # as if not installed
from t2t.data.crops import CropPolicy
from t2t.data.loader import ShardLoader

reader = ShardLoader(
    Path(sys.argv[1]), batch_size=8, seed=1, shuffle=True, crop=CropPolicy(), flip_prob=0.5,
    drop_last=False,
)
assert reader.engine == "torch", reader.engine
digest = hashlib.sha256()
for batch in reader.epoch(0):
    digest.update(batch.images.numpy().tobytes())
for name in ("sources", "shards", "beton_writer", "images"):
    assert f"t2t.data.{name}" not in sys.modules, name
print(digest.hexdigest())
"""


def test_without_ffcv_the_same_pixels_come(noise_shard):
    ran = subprocess.run(
        [sys.executable, "-c", WITHOUT_FFCV, str(noise_shard)],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    digest = hashlib.sha256()
    for batch in loader(noise_shard, engine="ffcv").epoch(0):
        digest.update(batch.images.numpy().tobytes())
    assert ran.stdout.strip() == digest.hexdigest()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"batch_size": 0}, "batch_size 0"),
        ({"workers": 0}, "workers 0"),
        ({"seed": -1}, "seed -1"),
        ({"flip_prob": 1.5}, "flip_prob"),
        ({"engine": "dali"}, "engine must be auto, ffcv or torch, not 'dali'"),
    ],
)
def test_bad_arguments_are_named(noise_shard, arguments, message):
    with pytest.raises(ConfigError, match=message):
        loader(noise_shard, **arguments)


@pytest.mark.parametrize(("epoch", "start"), [(-1, 0), (0, -1), (0, 8)])
def test_an_epoch_or_batch_out_of_range_is_refused_at_once(noise_shard, epoch, start):
    with pytest.raises(ConfigError, match=r"batch in 0\.\.7"):
        loader(noise_shard).epoch(epoch, start)
