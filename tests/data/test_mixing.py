"""Mixup and CutMix against a plain loop and against timm."""

import numpy as np
import pytest
import torch
from scipy.stats import kstest
from timm.data.mixup import FastCollateMixup

from t2t.data.mixing import MixDraw, MixPolicy, cutmix_at, draw_mix, mix_images, soft_targets
from t2t.errors import ConfigError


def batch(count: int, side: int = 12) -> torch.Tensor:
    rng = torch.Generator().manual_seed(count)
    return torch.randint(0, 256, (count, 3, side, side), dtype=torch.uint8, generator=rng)


def draws(policy: MixPolicy, count: int) -> list[MixDraw]:
    return [
        draw_mix(policy, seed=0, epoch=step // 50, step=step % 50, height_px=32, width_px=32)
        for step in range(count)
    ]


def mixed_one_by_one(images: torch.Tensor, draw: MixDraw) -> np.ndarray:
    source = images.numpy()
    out = source.copy()
    top, bottom, left, right = draw.box
    for i in range(len(source)):
        partner = source[len(source) - 1 - i]
        if draw.kind == "cutmix":
            out[i, :, top:bottom, left:right] = partner[:, top:bottom, left:right]
        if draw.kind == "mixup":
            for place in np.ndindex(*out.shape[1:]):
                value = np.float32(source[i][place]) * np.float32(draw.lam)
                value += np.float32(partner[place]) * np.float32(1 - draw.lam)
                out[i][place] = np.uint8(np.rint(value))
    return out


@pytest.mark.parametrize("count", [1, 2, 5, 8])
@pytest.mark.parametrize(
    "draw",
    [
        MixDraw("mixup", 0.3),
        MixDraw("mixup", 0.5),
        MixDraw("mixup", 1.0),
        MixDraw("cutmix", 0.75, (2, 8, 3, 9)),
        MixDraw("cutmix", 1.0, (4, 4, 5, 5)),
        MixDraw(),
    ],
)
def test_images_equal_a_plain_loop(count, draw):
    images = batch(count)
    kept = images.clone()
    assert (mix_images(images, draw).numpy() == mixed_one_by_one(images, draw)).all()
    assert (images == kept).all()


def test_the_middle_of_an_odd_batch_is_its_own_partner():
    images, labels = batch(5), torch.tensor([0, 1, 2, 3, 4])
    for draw in (MixDraw("mixup", 0.3), MixDraw("cutmix", 0.75, (2, 8, 3, 9))):
        assert (mix_images(images, draw)[2] == images[2]).all()
        assert soft_targets(labels, 5, 0.1, draw)[2].argmax() == 2
        assert soft_targets(labels, 5, 0.0, draw)[2, 2] == 1


class GivenMixup(FastCollateMixup):
    """timm's collate with its draw of (lam, kind) given."""

    given = (1.0, False)

    def _params_per_batch(self):
        return self.given


@pytest.mark.parametrize("use_cutmix", [False, True])
@pytest.mark.parametrize("lam", [0.05, 0.31, 0.5, 0.9, 1.0])
def test_a_batch_equals_timms(monkeypatch, lam, use_cutmix):
    images, labels = batch(8, 21), torch.arange(8) % 5
    theirs = GivenMixup(label_smoothing=0.1, num_classes=5)
    theirs.given = (lam, use_cutmix)
    centres = iter([3, 17])
    monkeypatch.setattr(np.random, "randint", lambda *_, **__: next(centres))
    expected = theirs([(x.numpy(), int(y)) for x, y in zip(images, labels, strict=True)])
    draw = cutmix_at(lam, 3, 17, 21, 21) if use_cutmix else MixDraw("mixup", lam)
    assert (mix_images(images, draw) == expected[0]).all()
    assert torch.equal(soft_targets(labels, 5, 0.1, draw), expected[1])


def test_targets_sum_to_one_and_weigh_both_labels():
    rows = soft_targets(torch.tensor([0, 2]), 4, 0.2, MixDraw("mixup", 0.7))
    expected = [[0.61, 0.05, 0.29, 0.05], [0.29, 0.05, 0.61, 0.05]]
    torch.testing.assert_close(rows, torch.tensor(expected))


def test_draws_depend_on_seed_epoch_and_step_alone():
    def at(seed, epoch, step):
        where = {"seed": seed, "epoch": epoch, "step": step, "height_px": 224, "width_px": 224}
        return draw_mix(MixPolicy(), **where)

    places = [(s, e, t) for s in range(3) for e in range(3) for t in range(3)]
    assert [at(*place) for place in places] == [at(*place) for place in places]
    assert len({at(*place) for place in places}) == len(places)


def test_draws_follow_the_recipe():
    drawn = draws(MixPolicy(), 3000)
    cutmix = [draw for draw in drawn if draw.kind == "cutmix"]
    assert 1400 < len(cutmix) < 1600 and all(draw.kind != "none" for draw in drawn)
    lams = [draw.lam for draw in drawn if draw.kind == "mixup"]
    assert kstest(lams, "beta", args=(0.8, 0.8)).pvalue > 0.001
    for draw in cutmix:
        top, bottom, left, right = draw.box
        assert 0 <= top <= bottom <= 32 and 0 <= left <= right <= 32
        assert draw.lam == 1 - (bottom - top) * (right - left) / 32**2


@pytest.mark.parametrize(
    ("policy", "kinds"),
    [
        (MixPolicy(prob=0.0), {"none"}),
        (MixPolicy(mixup_alpha=0.0), {"cutmix"}),
        (MixPolicy(cutmix_alpha=0.0), {"mixup"}),
        (MixPolicy(mixup_alpha=0.0, cutmix_alpha=0.0), {"none"}),
        (MixPolicy(prob=0.5), {"none", "mixup", "cutmix"}),
    ],
)
def test_kinds_can_be_turned_off(policy, kinds):
    assert {draw.kind for draw in draws(policy, 200)} == kinds


@pytest.mark.parametrize(
    "arguments",
    [{"mixup_alpha": -1.0}, {"cutmix_alpha": float("nan")}, {"switch_prob": 1.5}, {"prob": -0.1}],
)
def test_bad_policies_are_refused(arguments):
    with pytest.raises(ConfigError, match=next(iter(arguments))):
        MixPolicy(**arguments)
