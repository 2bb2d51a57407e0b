"""RandAugment over a batch against RandAugment image by image."""

import itertools

import numpy as np
import pytest
import torch
from PIL import Image

from t2t.data.randaugment import OPS, OpDraws, augment_image, draw_ops, parse_policy
from t2t.data.randaugment_batched import augment_batch
from tests.data.devices import needs_cuda, never_waiting
from tests.data.pictures import pictures
from tests.data.timm_ops import CONFIG, FILL


def to_batch(pixels: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(pixels.copy()).permute(0, 3, 1, 2).contiguous()


def one_by_one(pixels: np.ndarray, draws: OpDraws) -> torch.Tensor:
    images = [
        np.asarray(augment_image(Image.fromarray(image), draws[row], FILL))
        for row, image in enumerate(pixels)
    ]
    return to_batch(np.stack(images))


def draw_all(op: str, count: int, magnitude: float, sign: float, bicubic: bool) -> OpDraws:
    return OpDraws(
        np.full((count, 1), OPS.index(op)),
        np.full((count, 1), True),
        np.full((count, 1), magnitude),
        np.full((count, 1), sign),
        np.full((count, 1), bicubic),
    )


@pytest.mark.parametrize("op", OPS)
def test_each_operation_equals_pillows(op):
    pixels = pictures()
    images = to_batch(pixels)
    for magnitude, sign, bicubic in itertools.product(
        (0.0, 3.3, 8.8, 9.0, 10.0), (1.0, -1.0), (False, True)
    ):
        draws = draw_all(op, len(images), magnitude, sign, bicubic)
        ours = augment_batch(images, draws, FILL)
        assert ours.dtype == torch.uint8
        assert torch.equal(ours, one_by_one(pixels, draws)), (magnitude, sign, bicubic)


@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize(("height", "width"), [(1, 1), (2, 5), (3, 3), (40, 1)])
def test_tiny_images_equal_pillows(op, height, width):
    pixels = np.random.default_rng(0).integers(0, 256, (4, height, width, 3), dtype=np.uint8)
    for sign, bicubic in itertools.product((1.0, -1.0), (False, True)):
        draws = draw_all(op, 4, 9.0, sign, bicubic)
        ours = augment_batch(to_batch(pixels), draws, FILL)
        assert torch.equal(ours, one_by_one(pixels, draws))


@pytest.fixture(scope="module")
def mixed():
    """A batch in which everything occurs, its draws and what is expected of it."""
    pixels = np.concatenate([pictures(), pictures()[:, ::-1], pictures()[:, :, ::-1]] * 2)
    policy = parse_policy(f"{CONFIG}-n3-p0.8")
    draws = draw_ops(policy, seed=0, epoch=0, indices=np.arange(len(pixels)))
    applied = draws.ops[draws.applied]
    assert set(applied.tolist()) == set(range(len(OPS)))
    return pixels, draws, one_by_one(pixels, draws)


def test_a_whole_policy_equals_pillows(mixed):
    pixels, draws, expected = mixed
    images = to_batch(pixels)
    kept = images.clone()
    assert torch.equal(augment_batch(images, draws, FILL), expected)
    assert torch.equal(images, kept)


def test_an_image_does_not_depend_on_its_company(mixed):
    pixels, draws, expected = mixed
    rows = np.random.default_rng(0).permutation(len(pixels))[: len(pixels) // 3]
    assert torch.equal(augment_batch(to_batch(pixels[rows]), draws[rows], FILL), expected[rows])
    for row in rows[:8].tolist():
        alone = augment_batch(to_batch(pixels[[row]]), draws[[row]], FILL)
        assert torch.equal(alone[0], expected[row])


def test_memory_layout_does_not_matter(mixed):
    pixels, draws, expected = mixed
    channels_last = torch.from_numpy(pixels).permute(0, 3, 1, 2)
    assert not channels_last.is_contiguous()
    assert torch.equal(augment_batch(channels_last, draws, FILL), expected)


def test_nothing_is_copied_where_nothing_is_applied(mixed):
    pixels, draws, _ = mixed
    images = to_batch(pixels)
    none = OpDraws(
        draws.ops, np.zeros_like(draws.applied), draws.magnitudes, draws.signs, draws.bicubic
    )
    assert augment_batch(images, none, FILL) is images


def test_nothing_is_read_back_from_the_device(mixed):
    """Tensors of the meta device have no values: reading one raises."""
    pixels, draws, expected = mixed
    assert augment_batch(to_batch(pixels).to("meta"), draws, FILL).shape == expected.shape


@pytest.mark.gpu
@needs_cuda
def test_a_gpu_gives_the_same_without_waiting(mixed):
    pixels, draws, expected = mixed
    images = to_batch(pixels).cuda()
    with never_waiting():
        augmented = augment_batch(images, draws, FILL)
    assert torch.equal(augmented.cpu(), expected)
