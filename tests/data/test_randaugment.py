"""RandAugment image by image, against timm's operations and timm's sampler."""

import itertools
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image, ImageOps
from scipy.stats import chi2_contingency, chisquare, kstest
from timm.data import auto_augment
from timm.data.constants import IMAGENET_DEFAULT_MEAN

from t2t.data.randaugment import (
    OPS,
    OpDraws,
    RandAugmentPolicy,
    augment_image,
    draw_ops,
    fill_colour,
    op_argument,
    parse_policy,
)
from t2t.errors import ConfigError
from tests.data.pictures import pictures
from tests.data.timm_ops import CONFIG, FILL, timm_draws, timm_op

RECIPE = RandAugmentPolicy(magnitude=9, magnitude_std=0.5, num_ops=2, prob=0.5)
COUNT = 20_000


def draw(op: str, magnitude: float = 9.0, sign: float = 1.0, bicubic: bool = False) -> OpDraws:
    """One operation, which is applied."""
    return OpDraws(
        np.array([OPS.index(op)]),
        np.array([True]),
        np.array([magnitude]),
        np.array([sign]),
        np.array([bicubic]),
    )


@pytest.fixture(scope="module")
def images() -> list[Image.Image]:
    return [Image.fromarray(pixels) for pixels in pictures()]


@pytest.mark.parametrize("op", OPS)
def test_each_operation_equals_timms(op, images):
    for image, magnitude, sign, bicubic in itertools.product(
        images, (0.0, 3.3, 8.8, 9.0, 10.0), (1.0, -1.0), (False, True)
    ):
        kept = image.copy()
        ours = augment_image(image, draw(op, magnitude, sign, bicubic), FILL)
        assert ours == timm_op(image, op, magnitude, sign, bicubic)
        assert ours.mode == "RGB" and image == kept


def test_photographs_of_imagenet_become_what_timm_makes_of_them(photos):
    """As the recipe draws them, each file once; many sizes, some of them grey."""
    folder = photos / "imagenet_odd_originals"
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    draws = draw_ops(RECIPE, seed=0, epoch=0, indices=np.arange(len(files)))
    assert len(files) > 30 and draws.applied.any(1).mean() > 0.6
    for row, path in enumerate(files):
        with Image.open(path) as opened:
            expected = image = opened.convert("RGB")
        for op, applied, magnitude, sign, bicubic in zip(*vars(draws[row]).values(), strict=True):
            if applied:
                expected = timm_op(expected, OPS[op], magnitude, sign, bicubic)
        assert augment_image(image, draws[row], FILL) == expected, path


def test_operations_and_policy_are_timms():
    assert list(OPS) == auto_augment._RAND_INCREASING_TRANSFORMS
    timms = auto_augment.rand_augment_transform(CONFIG, {"img_mean": FILL})
    assert [op.name for op in timms.ops] == list(OPS)
    op, policy = timms.ops[0], parse_policy(CONFIG)
    assert (op.magnitude, op.magnitude_std, timms.num_layers, op.prob) == (
        policy.magnitude,
        policy.magnitude_std,
        policy.num_ops,
        policy.prob,
    )


def test_no_bits_give_black_where_pillow_refuses_them(monkeypatch):
    """As Pillow 13 does; the paper's code ran with one that gave black."""

    def posterize(image, bits):
        raise ValueError(f"bits must be from 1 to 8, not {bits}")

    monkeypatch.setattr(ImageOps, "posterize", posterize)
    image = Image.new("RGB", (5, 4), (200, 100, 50))
    assert (
        augment_image(image, draw("PosterizeIncreasing", 10.0), FILL).getextrema() == ((0, 0),) * 3
    )
    with pytest.raises(ValueError, match="bits"):
        augment_image(image, draw("PosterizeIncreasing", 9.0), FILL)


def test_operations_follow_one_another_and_can_be_left_out(images):
    both = OpDraws(
        np.array([OPS.index("Rotate"), OPS.index("Equalize")]),
        np.array([True, True]),
        np.array([9.2, 0.0]),
        np.array([-1.0, 1.0]),
        np.array([True, False]),
    )
    rotated = augment_image(images[0], both[:1], FILL)
    assert augment_image(images[0], both, FILL) == ImageOps.equalize(rotated)
    neither = OpDraws(both.ops, ~both.applied, both.magnitudes, both.signs, both.bicubic)
    assert augment_image(images[0], neither, FILL) is images[0]


@pytest.fixture(scope="module")
def ours() -> OpDraws:
    return draw_ops(RECIPE, seed=0, epoch=0, indices=np.arange(COUNT))


@pytest.fixture(scope="module")
def theirs():
    return timm_draws(COUNT)


def test_operations_are_chosen_as_timm_chooses(ours, theirs):
    """The pair of both choices: with replacement, and in order."""
    pairs = [
        np.bincount(ops[:, 0] * len(OPS) + ops[:, 1], minlength=len(OPS) ** 2)
        for ops in (ours.ops, theirs[0])
    ]
    assert chisquare(pairs[0]).pvalue > 0.001
    assert chi2_contingency(np.stack(pairs)).pvalue > 0.001


def test_as_many_are_applied_as_by_timm(ours, theirs):
    per_image = [
        np.bincount(ours.applied.sum(1), minlength=3),
        np.bincount(np.bincount([call[0] for call in theirs[1]], minlength=COUNT), minlength=3),
    ]
    assert chisquare(per_image[0], COUNT * np.array([0.25, 0.5, 0.25])).pvalue > 0.001
    assert chi2_contingency(np.stack(per_image)).pvalue > 0.001


@pytest.mark.parametrize("op", [op for op in OPS if op_argument(op, 9.0, 1.0) is not None])
def test_arguments_are_distributed_as_timms(op, ours, theirs):
    """Magnitude and sign through the levels; those of whole numbers by their frequencies."""
    chosen = ours.applied & (ours.ops == OPS.index(op))
    pairs = zip(ours.magnitudes[chosen], ours.signs[chosen], strict=True)
    mine = np.array([op_argument(op, magnitude, sign) for magnitude, sign in pairs])
    timms = np.array([call[2] for call in theirs[1] if call[1] == op])
    assert len(mine) > 1000 and len(timms) > 1000
    if timms.dtype.kind == "f":
        assert kstest(mine, timms).pvalue > 0.001
        return
    values = np.union1d(mine, timms)
    counts = np.stack([(values[:, None] == drawn).sum(1) for drawn in (mine, timms)])
    common = counts.sum(0) >= 20
    merged = np.column_stack([counts[:, common], counts[:, ~common].sum(1)])
    assert chi2_contingency(merged[:, merged.sum(0) > 0]).pvalue > 0.001


def test_magnitudes_are_normal_up_to_the_cut(ours):
    assert (ours.magnitudes <= 10).all()
    inside = ours.magnitudes[ours.magnitudes < 10]
    share = np.mean(ours.magnitudes == 10)
    assert abs(share - 0.02275) < 4 * (0.02275 / ours.magnitudes.size) ** 0.5
    assert kstest(inside, "truncnorm", args=(-np.inf, 2.0, 9.0, 0.5)).pvalue > 0.001


def test_filters_are_even_as_timms_and_nothing_hangs_together(ours, theirs):
    bicubic = np.mean([call[3] == Image.Resampling.BICUBIC for call in theirs[1]])
    assert abs(ours.bicubic.mean() - bicubic) < 0.02
    fields = [ours.ops, ours.applied, ours.magnitudes, ours.signs, ours.bicubic]
    columns = np.concatenate([field.astype(float).T for field in fields])
    assert np.abs(np.corrcoef(columns) - np.eye(len(columns))).max() < 4 / COUNT**0.5


def test_draws_depend_on_the_sample_alone():
    def flat(draws: OpDraws) -> np.ndarray:
        return np.stack([field.astype(float) for field in vars(draws).values()])

    def at(seed, epoch, indices):
        return flat(draw_ops(RECIPE, seed=seed, epoch=epoch, indices=indices))

    together = at(0, 0, np.arange(300))
    alone = np.concatenate([at(0, 0, [index]) for index in range(300)], axis=1)
    assert (together == alone).all()
    assert (together[:, [7, 3]] == at(0, 0, [7, 3])).all()
    for other in (at(1, 0, np.arange(300)), at(0, 1, np.arange(300))):
        assert (together != other).any((0, 2)).mean() > 0.99


@pytest.mark.parametrize(
    ("config", "policy"),
    [
        (CONFIG, RECIPE),
        ("rand-inc1-n3-m7", RandAugmentPolicy(7, 0.0, 3, 0.5)),
        ("rand-inc1-mstd1-p0.25", RandAugmentPolicy(10, 1.0, 2, 0.25)),
    ],
)
def test_timms_strings_are_understood(config, policy):
    assert parse_policy(config) == policy


@pytest.mark.parametrize(
    ("config", "problem"),
    [
        ("", "begin with 'rand'"),
        ("augmix-m9-inc1", "begin with 'rand'"),
        ("rand-m9-mstd0.5", "contain 'inc1'"),
        ("rand-m9-inc0", "contain 'inc1'"),
        ("rand-m9-inc1-tweights", "'tweights' is unknown"),
        ("rand-m9-mmax20-inc1", "'mmax20' is unknown"),
        ("rand-m9-m8-inc1", "'m8' is unknown or stands there twice"),
        ("rand-m9.5-inc1", "m must be a whole number"),
        ("rand-m11-inc1", "magnitude must lie between 0 and 10, not 11"),
        ("rand-m9-mstd101-inc1", "magnitude_std must lie between"),
        ("rand-m9-n0-inc1", "num_ops must lie between"),
        ("rand-m9-p1.5-inc1", "prob must lie between"),
        ("rand-m-inc1", "'m' is unknown"),
    ],
)
def test_other_strings_are_refused(config, problem):
    with pytest.raises(ConfigError, match=problem) as caught:
        parse_policy(config)
    assert repr(config) in str(caught.value) and CONFIG in str(caught.value)


def test_fill_is_timms_mean_colour():
    assert fill_colour(IMAGENET_DEFAULT_MEAN) == FILL
    assert fill_colour((0.0, 1.0, 0.5)) == (0, 255, 128)


def test_timm_is_not_imported_before_it_is_needed():
    code = "import sys, t2t.data.randaugment; sys.exit('timm' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
