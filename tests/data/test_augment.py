"""Normalisation and erasing, given their draws."""

import numpy as np
import pytest
import torch
from scipy.stats import ks_2samp, kstest
from timm.data.random_erasing import RandomErasing
from torchvision.transforms.functional import normalize as torchvision_normalize

from t2t.data.augment import ErasePolicy, draw_erasing, erase, normal_noise, normalize
from t2t.data.draws import GOLDEN, Stream, keys, mix64
from t2t.errors import ConfigError
from tests.data.devices import needs_cuda, never_waiting

RECIPE = {"area": (0.02, 1 / 3), "min_aspect": 0.3}


def boxes(prob: float, indices, epoch: int = 0) -> np.ndarray:
    where = {"seed": 0, "epoch": epoch, "indices": indices, "height_px": 40, "width_px": 56}
    return draw_erasing(ErasePolicy(prob=prob, **RECIPE), **where)


def test_normalize_is_torchvisions():
    images = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16).repeat(2, 3, 1, 1)
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    expected = torchvision_normalize(images.double() / 255, list(mean), list(std)).float()
    torch.testing.assert_close(normalize(images, mean, std), expected)


def test_boxes_depend_on_the_sample_alone():
    together = boxes(0.25, np.arange(64))
    alone = np.concatenate([boxes(0.25, [i]) for i in range(64)])
    assert (together == alone).all()
    assert (together != boxes(0.25, np.arange(64), epoch=1)).any()


def test_boxes_are_distributed_as_timms():
    import random

    random.seed(0)
    timms = RandomErasing(probability=1.0, mode="pixel", min_aspect=0.3, device="cpu")
    areas, ratios = [], []
    for _ in range(1500):
        hit = timms(torch.full((3, 40, 56), 9.0))[0] != 9.0
        height, width = int(hit.any(1).sum()), int(hit.any(0).sum())
        areas.append(height * width)
        ratios.append(height / width)
    ours = boxes(1.0, np.arange(1500))
    assert ks_2samp(ours[:, 2] * ours[:, 3], areas).pvalue > 0.001
    assert ks_2samp(ours[:, 2] / ours[:, 3], ratios).pvalue > 0.001
    assert (ours[:, 0] + ours[:, 2] <= 40).all() and (ours[:, 1] + ours[:, 3] <= 56).all()


def test_a_quarter_is_erased():
    assert 420 < (boxes(0.25, np.arange(2000))[:, 2] > 0).sum() < 580


def erased_one_by_one(images: np.ndarray, drawn, seed, epoch, indices) -> np.ndarray:
    """Each pixel by itself, from the hash in NumPy's unsigned words, in float64."""
    out = images.astype(np.float64)
    for row, (top, left, height, width) in enumerate(drawn.tolist()):
        key = keys(Stream.ERASE_NOISE, seed, epoch, [indices[row]])
        for c, y, x in np.ndindex(images.shape[1], height, width):
            counter = np.uint64(c * 2**40 + (top + y) * 2**20 + left + x + 1)
            with np.errstate(over="ignore"):
                word = int(mix64(key + counter * GOLDEN)[0])
            radius = np.sqrt(-2 * np.log(((word >> 32) + 0.5) / 2**32))
            angle = 2 * np.pi * (word & 0xFFFFFFFF) / 2**32
            out[row, c, top + y, left + x] = radius * np.cos(angle)
    return out


def test_erasing_equals_a_plain_loop():
    images = torch.full((12, 3, 40, 56), 7.0)
    indices = np.arange(1000, 1012)
    drawn = boxes(0.5, indices)
    assert 0 < (drawn[:, 2] > 0).sum() < 12
    erased = erase(images, drawn, seed=5, epoch=3, indices=indices)
    expected = erased_one_by_one(images.numpy(), drawn, 5, 3, indices)
    np.testing.assert_allclose(erased.numpy(), expected, rtol=0, atol=3e-6)
    assert ((erased == 7).numpy() == (expected == 7)).all()
    assert (images == 7).all()


def test_nothing_is_copied_where_nothing_is_erased():
    images, indices = torch.zeros(4, 3, 40, 56), np.arange(4)
    drawn = boxes(0.0, indices)
    assert erase(images, drawn, seed=0, epoch=0, indices=indices) is images


def test_noise_depends_on_the_sample_alone():
    images, indices = torch.zeros(8, 3, 40, 56), np.arange(8)
    drawn = boxes(1.0, indices)
    together = erase(images, drawn, seed=0, epoch=0, indices=indices)
    chosen = [5, 2, 7]
    some = erase(images[chosen], drawn[chosen], seed=0, epoch=0, indices=indices[chosen])
    assert torch.equal(together[chosen], some)
    for other in ({"seed": 1, "epoch": 0}, {"seed": 0, "epoch": 1}):
        assert not torch.equal(together, erase(images, drawn, **other, indices=indices))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_noise_is_the_same_in_every_type_of_image(dtype):
    images, indices = torch.zeros(8, 3, 40, 56), np.arange(8)
    drawn = boxes(1.0, indices)
    expected = erase(images, drawn, seed=0, epoch=0, indices=indices)
    given = erase(images.to(dtype), drawn, seed=0, epoch=0, indices=indices)
    assert given.dtype == dtype and torch.equal(given, expected.to(dtype))


def noise(samples: int, side: int) -> torch.Tensor:
    """(samples, 3, side, side)"""
    key = torch.from_numpy(keys(Stream.ERASE_NOISE, 0, 0, np.arange(samples)).view(np.int64))
    channel = torch.arange(3).view(-1, 1, 1)
    y, x = torch.arange(side)[:, None], torch.arange(side)
    return normal_noise(key.view(-1, 1, 1, 1), channel, y, x)


def test_noise_is_standard_normal_and_uncorrelated():
    numbers = noise(8, 64)
    assert kstest(numbers.flatten().double().numpy(), "norm").pvalue > 0.01
    tails = (numbers.abs() > 3).double().mean()
    assert abs(tails - 0.0027) < 4 * (0.0027 / numbers.numel()) ** 0.5
    for shift, dim in ((1, 0), (1, 1), (1, 2), (7, 2), (1, 3), (32, 3)):
        there = (numbers * numbers.roll(shift, dim)).mean()
        assert abs(there) < 4 / numbers.numel() ** 0.5


def test_noise_is_finite_at_the_ends_of_the_hash(monkeypatch):
    """Words of zeros, of ones, and with one half of each."""
    words = torch.tensor([0, -1, 0xFFFFFFFF, -(2**32), 2**63 - 1, -(2**63)])
    monkeypatch.setattr("t2t.data.augment._mix64", lambda _: words)
    numbers = normal_noise(*torch.zeros(4, 6, dtype=torch.int64))
    assert numbers.isfinite().all() and numbers.abs().max() < 6.8


def test_nothing_is_read_back_from_the_device():
    """Tensors of the meta device have no values: reading one raises."""
    indices = np.arange(8)
    images = torch.empty(8, 3, 40, 56, dtype=torch.uint8, device="meta")
    normal = normalize(images, (0.5, 0.4, 0.3), (0.2, 0.2, 0.2))
    assert erase(normal, boxes(1.0, indices), seed=0, epoch=0, indices=indices).is_meta


@pytest.mark.gpu
@needs_cuda
def test_a_gpu_erases_alike_without_waiting():
    indices = np.arange(8)
    drawn = boxes(1.0, indices)
    pixels = torch.arange(8 * 3 * 40 * 56).view(8, 3, 40, 56).to(torch.uint8)
    on_gpu = pixels.cuda()
    results = []
    with never_waiting():
        results.append(normalize(on_gpu, (0.5, 0.4, 0.3), (0.2, 0.2, 0.2)))
        results.append(erase(results[0], drawn, seed=0, epoch=0, indices=indices))
    expected = normalize(pixels, (0.5, 0.4, 0.3), (0.2, 0.2, 0.2))
    torch.testing.assert_close(results[0].cpu(), expected)
    expected = erase(expected, drawn, seed=0, epoch=0, indices=indices)
    torch.testing.assert_close(results[1].cpu(), expected, rtol=0, atol=3e-6)


@pytest.mark.parametrize(
    "change", [{"prob": 2.0}, {"area": (0.0, 0.3)}, {"area": (0.5, 0.3)}, {"min_aspect": 0.0}]
)
def test_bad_policies_are_refused(change):
    with pytest.raises(ConfigError, match=next(iter(change))):
        ErasePolicy(**{"prob": 0.25, **RECIPE, **change})
