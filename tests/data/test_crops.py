"""Crops against torchvision's."""

import numpy as np
import pytest
import torch
from scipy.stats import ks_2samp
from torchvision.transforms import RandomCrop, RandomResizedCrop
from torchvision.transforms.functional import resize

from t2t.data.crops import CropPolicy, ShiftPolicy, draw_boxes, draw_shifts
from t2t.errors import ConfigError


def boxes(policy: CropPolicy, count: int, height: int, width: int, epoch: int = 0) -> np.ndarray:
    sides = np.full(count, height), np.full(count, width)
    return draw_boxes(
        policy, seed=1, epoch=epoch, indices=np.arange(count), heights=sides[0], widths=sides[1]
    )


@pytest.mark.parametrize(("height", "width"), [(64, 64), (40, 90), (300, 20), (1, 1), (8, 8)])
@pytest.mark.parametrize("policy", [CropPolicy(), CropPolicy((0.9, 1.0), (0.5, 0.6))])
def test_boxes_lie_inside(policy, height, width):
    top, left, crop_height, crop_width = boxes(policy, 2000, height, width).T
    assert (top >= 0).all() and (left >= 0).all()
    assert (crop_height >= 1).all() and (crop_width >= 1).all()
    assert (top + crop_height <= height).all() and (left + crop_width <= width).all()


@pytest.mark.parametrize(("height", "width"), [(256, 256), (120, 200), (400, 100)])
def test_boxes_are_distributed_as_torchvisions(height, width):
    torch.manual_seed(0)
    policy = CropPolicy((0.08, 1.0), (3 / 4, 4 / 3))
    image = torch.empty(3, height, width)
    theirs = np.array(
        [
            RandomResizedCrop.get_params(image, list(policy.scale), list(policy.ratio))
            for _ in range(3000)
        ]
    )
    ours = boxes(policy, 3000, height, width)
    for column in range(4):
        assert ks_2samp(ours[:, column], theirs[:, column]).pvalue > 0.001
    area = ours[:, 2] * ours[:, 3], theirs[:, 2] * theirs[:, 3]
    assert ks_2samp(*area).pvalue > 0.001


def test_an_impossible_ratio_falls_back_to_the_centre():
    policy = CropPolicy((1.0, 1.0), (1.0, 1.0))
    assert (boxes(policy, 5, 40, 100) == [0, 30, 40, 40]).all()
    assert (boxes(policy, 5, 100, 40) == [30, 0, 40, 40]).all()


def test_boxes_change_with_the_epoch():
    assert (boxes(CropPolicy(), 50, 64, 64, 0) != boxes(CropPolicy(), 50, 64, 64, 1)).any(1).all()


def shifts(height: int, width: int, epoch: int = 0, count: int = 4000) -> np.ndarray:
    sides = np.tile([height, width], (count, 1))
    where = {"seed": 1, "epoch": epoch, "indices": np.arange(count)}
    return draw_shifts(ShiftPolicy(0.125), **where, sides=sides, size_px=224)


@pytest.mark.parametrize(("height", "width"), [(32, 32), (224, 224), (500, 667), (900, 400)])
def test_shifts_are_distributed_as_torchvisions(height, width):
    """Its Resize(224) and RandomCrop(224, padding=28): every place between its extremes."""
    torch.manual_seed(0)
    whole = resize(torch.empty(3, height, width), [224])
    padded = torch.empty(3, whole.shape[1] + 56, whole.shape[2] + 56)
    theirs = np.array([RandomCrop.get_params(padded, (224, 224))[:2] for _ in range(4000)]) - 28
    ours = shifts(height, width)
    assert (ours.min(0) >= -28).all()
    assert (ours.max(0) <= np.array(whole.shape[1:]) - 224 + 28).all()
    for column in range(2):
        assert ks_2samp(ours[:, column], theirs[:, column]).pvalue > 0.001
    if height == width:
        assert set(ours[:, 0]) == set(range(-28, 29))


def test_shifts_change_with_the_epoch_and_differ_by_axis():
    assert (shifts(32, 32) != shifts(32, 32, epoch=1)).any(1).mean() > 0.99
    assert np.corrcoef(shifts(32, 32).T)[0, 1] == pytest.approx(0, abs=0.05)


@pytest.mark.parametrize("arguments", [{"share": -0.1}, {"share": 1.0}, {"interpolation": "area"}])
def test_bad_shifts_are_refused(arguments):
    with pytest.raises(ConfigError, match=next(iter(arguments))):
        ShiftPolicy(**{"share": 0.1} | arguments)


@pytest.mark.parametrize(
    "arguments",
    [
        {"scale": (0.0, 1.0)},
        {"scale": (0.9, 0.5)},
        {"ratio": (0.0, 1.0)},
        {"interpolation": "area"},
    ],
)
def test_bad_policies_are_refused(arguments):
    with pytest.raises(ConfigError, match=next(iter(arguments))):
        CropPolicy(**arguments)
