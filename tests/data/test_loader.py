"""Batches: the same from both engines, from any point, for any number of workers."""

import hashlib
import itertools
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from t2t.data.beton import BetonFile
from t2t.data.crops import CropPolicy
from t2t.data.loader import Batch
from t2t.data.randaugment import fill_colour, parse_policy
from t2t.errors import ConfigError
from tests.data.reading import ENGINES, by_sample, fingerprint, loader

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("shard", "arguments"),
    [
        ("digits_shard", {"crop": None}),
        ("noise_shard", {}),
        ("noise_shard", {"crop": CropPolicy((0.5, 0.9), (1.0, 2.0)), "image_size": 64}),
        ("jpeg_shard", {}),
        ("jpeg_shard", {"image_size": 96, "augment": parse_policy("rand-m9-mstd0.5-inc1")}),
        ("jpeg_shard", {"fraction": 0.3}),
    ],
)
def test_engines_give_the_same_bytes(request, shard, arguments):
    path = request.getfixturevalue(shard)
    prints = [
        [fingerprint(loader(path, engine=engine, **arguments).epoch(epoch)) for epoch in range(3)]
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
    stored = np.stack([beton.stored(i).reshape(32, 32, 3) for i in range(360)])
    stored = stored.transpose(0, 3, 1, 2)
    assert (torch.cat([batch.images for batch in batches]).numpy() == stored).all()
    assert (torch.cat([batch.labels for batch in batches]).numpy() == beton.labels).all()
    assert torch.cat([batch.indices for batch in batches]).tolist() == list(range(360))
    first = batches[0]
    assert first.images.dtype == torch.uint8 and first.images.is_contiguous()
    assert first.labels.dtype == first.indices.dtype == first.positions.dtype == torch.int64
    assert [batch.positions.tolist() for batch in batches] == [list(range(50))] * 7 + [
        list(range(10))
    ]


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
@pytest.mark.parametrize("shard", ["noise_shard", "jpeg_shard"])
def test_workers_and_batch_size_change_no_pixel(request, shard, engine):
    path = request.getfixturevalue(shard)
    expected = by_sample(loader(path, workers=1).epoch(1))
    for workers, batch_size in ((1, 5), (2, 8), (4, 53)):
        reader = loader(path, engine=engine, workers=workers, batch_size=batch_size)
        assert by_sample(reader.epoch(1)) == expected


def rows_of(batch: Batch, rows) -> Batch:
    return Batch(*(tensor[rows] for tensor in batch))


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("shard", ["noise_shard", "jpeg_shard"])
def test_a_part_is_those_rows_of_each_batch(request, shard, engine):
    path = request.getfixturevalue(shard)
    whole = list(loader(path).epoch(1))
    parts = [[0, 4], [7, 1, 6], [2], [3, 5]]
    seen = []
    for part in parts:
        batches = list(loader(path, engine=engine).epoch(1, 2, part=part))
        expected = [
            rows_of(batch, [row for row in part if row < len(batch.labels)]) for batch in whole[2:]
        ]
        assert fingerprint(batches) == fingerprint(expected)
        seen += [index for batch in batches for index in batch.indices.tolist()]
    assert sorted(seen) == sorted(i for batch in whole[2:] for i in batch.indices.tolist())


@pytest.mark.parametrize("engine", ENGINES)
def test_a_last_batch_may_have_none_of_a_parts_rows(noise_shard, engine):
    """53 samples in batches of 8: the last one has 5, but there are as many batches for all."""
    batches = list(loader(noise_shard, engine=engine).epoch(0, part=np.array([6, 7])))
    assert [len(batch.labels) for batch in batches] == [2] * 6 + [0]
    assert batches[-1].images.shape == (0, 3, 40, 40)
    last = list(loader(noise_shard, engine=engine).epoch(0, 6, part=[6, 7]))
    assert fingerprint(last) == fingerprint(batches[6:])


@pytest.mark.parametrize("engine", ENGINES)
def test_a_fraction_is_the_same_samples_for_every_seed_with_their_own_pixels(jpeg_shard, engine):
    whole = by_sample(loader(jpeg_shard).epoch(3))
    members = {}
    for fraction, size in ((0.2, 8), (0.5, 20), (1.0, 40)):
        reader = loader(jpeg_shard, engine=engine, fraction=fraction)
        part = by_sample(reader.epoch(3))
        assert reader.num_samples == len(part) == size and reader.num_batches == -(-size // 8)
        assert all(whole[index] == sample for index, sample in part.items())
        assert sum(label for _, label in part.values()) == size // 2
        other = loader(jpeg_shard, engine=engine, fraction=fraction, seed=9)
        members[fraction] = set(part)
        assert set(by_sample(other.epoch(0))) == members[fraction]
    assert members[0.2] < members[0.5] < members[1.0]


def test_the_size_is_the_readers_to_choose(jpeg_shard):
    for given, side in ((None, 48), (96, 96)):
        reader = loader(jpeg_shard, image_size=given)
        assert reader.image_size == side
        assert next(reader.epoch(0)).images.shape == (8, 3, side, side)


@pytest.mark.parametrize(
    ("shard", "size"), [("jpeg_shard", None), ("jpeg_shard", 32), ("noise_shard", 32)]
)
def test_without_a_crop_only_stored_squares_can_be_read(request, shard, size):
    with pytest.raises(ConfigError, match="need a crop policy"):
        loader(request.getfixturevalue(shard), crop=None, image_size=size)


def test_what_augmentation_uncovers_has_the_shards_mean_colour(jpeg_shard):
    policy = parse_policy("rand-m9-mstd0.5-inc1-p1.0")
    mean = loader(jpeg_shard).manifest.channel_mean
    given, chosen, black = (
        next(loader(jpeg_shard, augment=policy, batch_size=40, fill=fill).epoch(0)).images
        for fill in (fill_colour(mean), None, (0, 0, 0))
    )
    assert torch.equal(given, chosen) and not torch.equal(given, black)


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


WITHOUT_FFCV = """
import hashlib, sys
from pathlib import Path

for name in ("ffcv", "numba", "cv2", "sklearn", "pydantic", "scipy", "mlflow", "torchvision"):
    sys.modules[name] = None  # as if not installed
from t2t.data.crops import CropPolicy
from t2t.data.loader import ShardLoader

for path in sys.argv[1:]:
    reader = ShardLoader(
        Path(path), batch_size=8, seed=1, shuffle=True, crop=CropPolicy(), flip_prob=0.5,
        drop_last=False,
    )
    assert reader.engine == "torch", reader.engine
    digest = hashlib.sha256()
    for batch in reader.epoch(0):
        digest.update(batch.images.numpy().tobytes())
    print(digest.hexdigest())
for name in ("sources", "shards", "beton_writer", "images", "stored_forms", "encode_pool"):
    assert f"t2t.data.{name}" not in sys.modules, name
"""


def test_without_other_libraries_the_same_pixels_come(noise_shard, jpeg_shard):
    shards = (noise_shard, jpeg_shard)
    ran = subprocess.run(
        [sys.executable, "-c", WITHOUT_FFCV, *map(str, shards)],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    for shard, told in zip(shards, ran.stdout.split(), strict=True):
        digest = hashlib.sha256()
        for batch in loader(shard, engine="ffcv").epoch(0):
            digest.update(batch.images.numpy().tobytes())
        assert told == digest.hexdigest()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"batch_size": 0}, "batch_size 0"),
        ({"workers": 0}, "workers 0"),
        ({"seed": -1}, "seed -1"),
        ({"flip_prob": 1.5}, "flip_prob"),
        ({"fraction": 0.0}, r"fraction must lie in \(0, 1\], not 0"),
        ({"fraction": 1.1}, "fraction"),
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


@pytest.mark.parametrize("part", [[8], [-1], [], [[0, 1]]])
def test_a_part_out_of_range_is_refused_at_once(noise_shard, part):
    with pytest.raises(ConfigError, match=r"part must be positions in 0\.\.7, not"):
        loader(noise_shard).epoch(0, part=part)
