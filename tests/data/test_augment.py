"""Normalisation and erasing, given their draws."""

import numpy as np
import pytest
import torch
from scipy.stats import ks_2samp
from timm.data.random_erasing import RandomErasing
from torchvision.transforms.functional import normalize as torchvision_normalize

from t2t.data.augment import ErasePolicy, draw_erasing, erase, normalize
from t2t.errors import ConfigError


def boxes(policy: ErasePolicy, indices, epoch: int = 0) -> np.ndarray:
    where = {"seed": 0, "epoch": epoch, "indices": indices, "height_px": 40, "width_px": 56}
    return draw_erasing(policy, **where)


def test_normalize_is_torchvisions():
    images = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16).repeat(2, 3, 1, 1)
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    expected = torchvision_normalize(images.double() / 255, list(mean), list(std)).float()
    torch.testing.assert_close(normalize(images, mean, std), expected)


def test_boxes_depend_on_the_sample_alone():
    together = boxes(ErasePolicy(), np.arange(64))
    alone = np.concatenate([boxes(ErasePolicy(), [i]) for i in range(64)])
    assert (together == alone).all()
    assert (together != boxes(ErasePolicy(), np.arange(64), epoch=1)).any()


def test_boxes_are_distributed_as_timms(monkeypatch):
    import random

    random.seed(0)
    timms = RandomErasing(probability=1.0, mode="pixel", min_aspect=0.3, device="cpu")
    areas, ratios = [], []
    for _ in range(1500):
        hit = timms(torch.full((3, 40, 56), 9.0))[0] != 9.0
        height, width = int(hit.any(1).sum()), int(hit.any(0).sum())
        areas.append(height * width)
        ratios.append(height / width)
    ours = boxes(ErasePolicy(prob=1.0), np.arange(1500))
    assert ks_2samp(ours[:, 2] * ours[:, 3], areas).pvalue > 0.001
    assert ks_2samp(ours[:, 2] / ours[:, 3], ratios).pvalue > 0.001
    assert (ours[:, 0] + ours[:, 2] <= 40).all() and (ours[:, 1] + ours[:, 3] <= 56).all()


def test_a_quarter_is_erased():
    assert 420 < (boxes(ErasePolicy(prob=0.25), np.arange(2000))[:, 2] > 0).sum() < 580


def test_erase_fills_exactly_the_boxes_with_unit_noise():
    images = torch.full((300, 3, 40, 56), 7.0)
    indices = np.arange(1000, 1300)
    drawn = boxes(ErasePolicy(prob=0.5), indices)
    erased = erase(images, drawn, seed=0, epoch=0, indices=indices)
    assert (images == 7).all()
    inside = torch.zeros(300, 1, 40, 56, dtype=torch.bool)
    for row, (top, left, height, width) in enumerate(drawn.tolist()):
        inside[row, :, top : top + height, left : left + width] = True
    assert ((erased != 7) == inside).all()
    noise = erased[inside.expand_as(erased)]
    assert abs(noise.mean()) < 0.01 and abs(noise.std() - 1) < 0.01


def test_noise_depends_on_the_sample_alone():
    images, indices = torch.zeros(8, 3, 40, 56), np.arange(8)
    drawn = boxes(ErasePolicy(prob=1.0), indices)
    together = erase(images, drawn, seed=0, epoch=0, indices=indices)
    last = erase(images[7:], drawn[7:], seed=0, epoch=0, indices=indices[7:])
    assert torch.equal(together[7:], last)
    later = erase(images, drawn, seed=0, epoch=1, indices=indices)
    assert not torch.equal(together, later)


@pytest.mark.parametrize(
    "arguments", [{"prob": 2.0}, {"area": (0.0, 0.3)}, {"area": (0.5, 0.3)}, {"min_aspect": 0.0}]
)
def test_bad_policies_are_refused(arguments):
    with pytest.raises(ConfigError, match=next(iter(arguments))):
        ErasePolicy(**arguments)
