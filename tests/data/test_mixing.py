"""Mixup and CutMix against a plain loop and against timm, whole and in parts."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import kstest
from timm.data.mixup import FastCollateMixup, Mixup

from t2t.data.draws import Stream, keys
from t2t.data.mixing import (
    MixDraw,
    MixPolicy,
    cutmix_at,
    draw_mix,
    mix_images,
    parts,
    plan_mix,
    plan_of,
    soft_targets,
)
from t2t.errors import ConfigError
from tests.data.devices import needs_cuda, never_waiting

RECIPE = MixPolicy(mixup_alpha=0.8, cutmix_alpha=1.0, switch_prob=0.5, prob=1.0, group_size=64)


def policy(**changes) -> MixPolicy:
    return MixPolicy(**{**vars(RECIPE), **changes})


def batch(count: int, side: int = 12) -> torch.Tensor:
    rng = torch.Generator().manual_seed(count)
    return torch.randint(0, 256, (count, 3, side, side), dtype=torch.uint8, generator=rng)


def draws(policy: MixPolicy, count: int) -> list[MixDraw]:
    size = {"height_px": 32, "width_px": 32}
    return [
        draw_mix(policy, seed=0, epoch=i // 50, step=i // 5 % 10, group=i % 5, **size)
        for i in range(count)
    ]


def plan(draw: MixDraw, count: int):
    """All of a batch that is one group."""
    return plan_of(lambda group: draw, np.arange(count), count, count)


def mixed_one_by_one(images: torch.Tensor, draws: list[MixDraw], group_size: int) -> np.ndarray:
    source = images.numpy()
    out = source.copy()
    for i in range(len(source)):
        start = i - i % group_size
        end = min(start + group_size, len(source))
        draw, partner = draws[i // group_size], source[start + (end - 1 - i)]
        top, bottom, left, right = draw.box
        if draw.kind == "cutmix":
            out[i, :, top:bottom, left:right] = partner[:, top:bottom, left:right]
        if draw.kind == "mixup":
            for place in np.ndindex(*out.shape[1:]):
                value = np.float32(source[i][place]) * np.float32(draw.lam)
                value += np.float32(partner[place]) * np.float32(1 - draw.lam)
                out[i][place] = np.uint8(np.rint(value))
    return out


DRAWS = [
    MixDraw("mixup", 0.3),
    MixDraw("cutmix", 0.75, (2, 8, 3, 9)),
    MixDraw(),
    MixDraw("mixup", 0.5),
    MixDraw("cutmix", 1.0, (4, 4, 5, 5)),
    MixDraw("mixup", 1.0),
]


@pytest.mark.parametrize("count", [1, 2, 5, 8])
@pytest.mark.parametrize("draw", DRAWS)
def test_images_equal_a_plain_loop(count, draw):
    images = batch(count)
    kept = images.clone()
    expected = mixed_one_by_one(images, [draw], count)
    assert (mix_images(images, plan(draw, count)).numpy() == expected).all()
    assert (images == kept).all()


@pytest.mark.parametrize(("count", "group_size"), [(16, 4), (17, 3), (11, 4), (6, 1)])
def test_groups_of_different_kinds_equal_a_plain_loop(count, group_size):
    images, labels = batch(count), torch.arange(count)
    whole = plan_of(DRAWS.__getitem__, np.arange(count), count, group_size)
    expected = mixed_one_by_one(images, DRAWS, group_size)
    assert (mix_images(images, whole).numpy() == expected).all()
    targets = soft_targets(labels, whole, count, 0.1)
    for start in range(0, count, group_size):
        group = labels[start : start + group_size]
        alone = soft_targets(group, plan(DRAWS[start // group_size], len(group)), count, 0.1)
        assert torch.equal(targets[start : start + group_size], alone)


def test_the_middle_of_an_odd_group_is_its_own_partner():
    images, labels = batch(5), torch.tensor([0, 1, 2, 3, 4])
    for draw in (MixDraw("mixup", 0.3), MixDraw("cutmix", 0.75, (2, 8, 3, 9))):
        assert (mix_images(images, plan(draw, 5))[2] == images[2]).all()
        assert soft_targets(labels, plan(draw, 5), 5, 0.1)[2].argmax() == 2
        assert soft_targets(labels, plan(draw, 5), 5, 0.0)[2, 2] == 1


def test_nothing_is_copied_where_nothing_is_mixed():
    images = batch(4)
    assert mix_images(images, plan(MixDraw(), 4)) is images


class GivenMixup(FastCollateMixup):
    """timm's collate with its draw of (lam, kind) given."""

    given = (1.0, False)

    def _params_per_batch(self):
        return self.given


@pytest.mark.parametrize("use_cutmix", [False, True])
@pytest.mark.parametrize("lam", [0.05, 0.31, 0.5, 0.9, 1.0])
def test_a_group_equals_timms_batch(monkeypatch, lam, use_cutmix):
    images, labels = batch(8, 21), torch.arange(8) % 5
    theirs = GivenMixup(label_smoothing=0.1, num_classes=5)
    theirs.given = (lam, use_cutmix)
    centres = iter([3, 17])
    monkeypatch.setattr(np.random, "randint", lambda *_, **__: next(centres))
    expected = theirs([(x.numpy(), int(y)) for x, y in zip(images, labels, strict=True)])
    draw = cutmix_at(lam, 3, 17, 21, 21) if use_cutmix else MixDraw("mixup", lam)
    assert (mix_images(images, plan(draw, 8)) == expected[0]).all()
    assert torch.equal(soft_targets(labels, plan(draw, 8), 5, 0.1), expected[1])


def test_kinds_and_coefficients_are_distributed_as_timms():
    np.random.seed(0)
    timms = Mixup(mixup_alpha=0.8, cutmix_alpha=1.0, prob=1.0, switch_prob=0.5)
    theirs = [timms._params_per_batch() for _ in range(3000)]
    ours = draws(RECIPE, 3000)
    share = np.mean([draw.kind == "cutmix" for draw in ours])
    assert abs(share - np.mean([cutmix for _, cutmix in theirs])) < 0.04
    lams = [draw.lam for draw in ours if draw.kind == "mixup"]
    assert kstest(lams, [float(lam) for lam, cutmix in theirs if not cutmix]).pvalue > 0.001


def test_targets_sum_to_one_and_weigh_both_labels():
    rows = soft_targets(torch.tensor([0, 2]), plan(MixDraw("mixup", 0.7), 2), 4, 0.2)
    expected = [[0.61, 0.05, 0.29, 0.05], [0.29, 0.05, 0.61, 0.05]]
    torch.testing.assert_close(rows, torch.tensor(expected))


def test_draws_depend_on_seed_epoch_step_and_group_alone():
    def at(seed, epoch, step, group):
        where = {"seed": seed, "epoch": epoch, "step": step, "group": group}
        return draw_mix(RECIPE, **where, height_px=224, width_px=224)

    places = list(np.ndindex(3, 3, 3, 3))
    assert [at(*place) for place in places] == [at(*place) for place in places]
    assert len({at(*place) for place in places}) == len(places)


def test_a_batch_of_one_group_draws_the_first_stretch_of_its_steps_sequence():
    """So that what was trained with one draw for a batch is trained alike now."""
    for step in range(20):
        key = int(keys(Stream.MIX, 3, 2, step))
        rng = np.random.Generator(np.random.Philox(key=key))
        rng.random()
        switches = rng.random() < 0.5
        lam = rng.beta(1.0, 1.0) if switches else rng.beta(0.8, 0.8)
        where = {"seed": 3, "epoch": 2, "step": step, "height_px": 8, "width_px": 8}
        given = plan_mix(RECIPE, **where, positions=np.arange(48), batch_size=48)
        assert given.kinds == {"cutmix" if switches else "mixup"}
        if not switches:
            assert (given.lam == lam).all()


def test_draws_follow_the_recipe():
    drawn = draws(RECIPE, 3000)
    cutmix = [draw for draw in drawn if draw.kind == "cutmix"]
    assert 1400 < len(cutmix) < 1600 and all(draw.kind != "none" for draw in drawn)
    lams = [draw.lam for draw in drawn if draw.kind == "mixup"]
    assert kstest(lams, "beta", args=(0.8, 0.8)).pvalue > 0.001
    for draw in cutmix:
        top, bottom, left, right = draw.box
        assert 0 <= top <= bottom <= 32 and 0 <= left <= right <= 32
        assert draw.lam == 1 - (bottom - top) * (right - left) / 32**2


@pytest.mark.parametrize(
    ("changes", "kinds"),
    [
        ({"prob": 0.0}, {"none"}),
        ({"mixup_alpha": 0.0}, {"cutmix"}),
        ({"cutmix_alpha": 0.0}, {"mixup"}),
        ({"mixup_alpha": 0.0, "cutmix_alpha": 0.0}, {"none"}),
        ({"prob": 0.5}, {"none", "mixup", "cutmix"}),
    ],
)
def test_kinds_can_be_turned_off(changes, kinds):
    assert {draw.kind for draw in draws(policy(**changes), 200)} == kinds


@pytest.mark.parametrize(
    "change",
    [
        {"mixup_alpha": -1.0},
        {"cutmix_alpha": float("nan")},
        {"switch_prob": 1.5},
        {"prob": -0.1},
        {"group_size": 0},
    ],
)
def test_bad_policies_are_refused(change):
    with pytest.raises(ConfigError, match=next(iter(change))):
        policy(**change)


STEP = {"seed": 1, "epoch": 4, "step": 7, "height_px": 12, "width_px": 12}


@pytest.mark.parametrize("num_parts", [1, 2, 3, 7, 16])
@pytest.mark.parametrize(("batch_size", "group_size"), [(32, 8), (36, 8), (33, 5)])
def test_parts_are_mixed_as_the_whole_is(batch_size, group_size, num_parts):
    images, labels = batch(batch_size), torch.arange(batch_size) % 10
    mix = policy(group_size=group_size, prob=0.8)
    whole = plan_mix(mix, **STEP, positions=np.arange(batch_size), batch_size=batch_size)
    assert len(whole.kinds) > 1
    expected = mix_images(images, whole), soft_targets(labels, whole, 10, 0.1)
    for positions in parts(batch_size, group_size, num_parts):
        positions = np.random.default_rng(0).permutation(positions)
        part = plan_mix(mix, **STEP, positions=positions, batch_size=batch_size)
        assert torch.equal(mix_images(images[positions], part), expected[0][positions])
        assert torch.equal(soft_targets(labels[positions], part, 10, 0.1), expected[1][positions])


@settings(deadline=None)
@given(st.integers(1, 200), st.integers(1, 70), st.integers(1, 100))
def test_parts_split_a_batch_evenly_between_pairs(batch_size, group_size, num_parts):
    groups = [range(s, min(s + group_size, batch_size)) for s in range(0, batch_size, group_size)]
    pairs = [{a, b} for group in groups for a, b in zip(group, reversed(group), strict=True)]
    if num_parts > sum((len(group) + 1) // 2 for group in groups):
        with pytest.raises(ConfigError, match=f"not by {num_parts}"):
            parts(batch_size, group_size, num_parts)
        return
    shares = parts(batch_size, group_size, num_parts)
    assert sorted(np.concatenate(shares)) == list(range(batch_size))
    assert all((np.diff(share) > 0).all() for share in shares)
    sizes = [len(share) for share in shares]
    assert len(sizes) == num_parts and min(sizes) > 0 and max(sizes) - min(sizes) <= 2
    whose = {position: part for part, share in enumerate(shares) for position in share.tolist()}
    assert all(len({whose[position] for position in pair}) == 1 for pair in pairs)


def test_parts_are_whole_groups_where_the_numbers_allow():
    """The paper's eight GPUs of 64 images."""
    shares = parts(512, 64, 8)
    assert [share.tolist() for share in shares] == np.arange(512).reshape(8, 64).tolist()
    assert parts(8, 8, 2)[0].tolist() == [0, 1, 6, 7]


@pytest.mark.parametrize(
    ("positions", "problem"),
    [
        ([0, 1, 2], "position 0 of a batch of 16 is mixed with that at 7"),
        ([0, 7, 9], "position 9 of a batch of 16 is mixed with that at 14"),
        ([0, 7, 7], "must differ"),
        ([0, 16], "lie in 0..15"),
        ([-1, 0], "lie in 0..15"),
    ],
)
def test_a_part_without_both_images_of_a_pair_is_refused(positions, problem):
    with pytest.raises(ConfigError, match=problem):
        plan_mix(policy(group_size=8), **STEP, positions=np.array(positions), batch_size=16)


def test_nothing_is_read_back_from_the_device():
    """Tensors of the meta device have no values: reading one raises."""
    mixed = plan_of(DRAWS.__getitem__, np.arange(16), 16, 4)
    assert mix_images(batch(16).to("meta"), mixed).shape == (16, 3, 12, 12)
    assert soft_targets(torch.arange(16, device="meta"), mixed, 10, 0.1).shape == (16, 10)


@pytest.mark.gpu
@needs_cuda
def test_a_gpu_mixes_alike_without_waiting():
    images, labels = batch(16).cuda(), torch.arange(16).cuda()
    mixed = plan_of(DRAWS.__getitem__, np.arange(16), 16, 4)
    with never_waiting():
        pixels, targets = mix_images(images, mixed), soft_targets(labels, mixed, 16, 0.1)
    assert torch.equal(pixels.cpu(), mix_images(images.cpu(), mixed))
    assert torch.equal(targets.cpu(), soft_targets(labels.cpu(), mixed, 16, 0.1))
