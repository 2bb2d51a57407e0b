"""The pixels of a batch, against torchvision's and Pillow's."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torchvision.transforms.functional import InterpolationMode, crop, pad, resize, resized_crop

from t2t.data.crops import CropPolicy, ShiftPolicy, draw_boxes, draw_shifts
from t2t.data.randaugment import augment_image, draw_ops, parse_policy
from t2t.data.render import Renderer, resized
from tests.data.photographs import photograph

ROOT = Path(__file__).resolve().parents[2]
SIZES = [(40 + 5 * i, 110 - 4 * i) for i in range(24)]
PHOTOS = [np.asarray(photograph(i, *size)) for i, size in enumerate(SIZES)]


def rendered(renderer: Renderer, images, epoch: int = 0) -> np.ndarray:
    """(B, S, S, 3)"""
    indices = np.arange(len(images))
    heights, widths = (np.array([image.shape[axis] for image in images]) for axis in range(2))
    draws = renderer.draw(epoch, indices, heights, widths)
    out = np.empty((len(images), 3, renderer.size_px, renderer.size_px), np.uint8)
    for row, image in enumerate(images):
        renderer.render(out[row], image, draws, row)
    return out.transpose(0, 2, 3, 1)


def difference(ours: np.ndarray, theirs: np.ndarray) -> tuple[float, int]:
    """Mean and greatest difference in grey levels."""
    levels = np.abs(ours.astype(int) - theirs.astype(int))
    return levels.mean(), levels.max()


@pytest.mark.parametrize("bicubic", [False, True])
@pytest.mark.parametrize("size_px", [16, 64, 224])
def test_the_resize_is_pillows_to_two_grey_levels(size_px, bicubic):
    kernel = Image.Resampling.BICUBIC if bicubic else Image.Resampling.BILINEAR
    noise = np.random.default_rng(0).integers(0, 256, (97, 300, 3), dtype=np.uint8)
    lines = np.tile(np.array([0, 255], np.uint8)[:, None], (30, 41, 3))
    for image in (*PHOTOS, noise, lines, noise[:1, :1], noise[:2, :200], noise[:size_px, :size_px]):
        theirs = np.asarray(Image.fromarray(image).resize((size_px, size_px), kernel))
        mean, most = difference(resized(image, size_px, size_px, bicubic), theirs)
        assert mean < 0.1 and most <= 2


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_pixels_are_torchvisions_resized_crop(interpolation):
    policy = CropPolicy(interpolation=interpolation)
    made = rendered(Renderer(48, 1, policy, 0.0), PHOTOS)
    heights, widths = np.array(SIZES).T
    boxes = draw_boxes(
        policy, seed=1, epoch=0, indices=np.arange(24), heights=heights, widths=widths
    )
    for image, ours, box in zip(PHOTOS, made, boxes.tolist(), strict=True):
        mode = InterpolationMode(interpolation)
        theirs = np.asarray(resized_crop(Image.fromarray(image), *box, [48, 48], mode))
        mean, most = difference(ours, theirs)
        assert mean < 0.1 and most <= 2


def test_random_interpolation_takes_each_kind_for_its_own_pixels():
    made = {
        kind: rendered(Renderer(24, 0, CropPolicy(interpolation=kind), 0.0), PHOTOS * 8)
        for kind in ("bilinear", "bicubic", "random")
    }
    linear = (made["random"] == made["bilinear"]).all((1, 2, 3))
    cubic = (made["random"] == made["bicubic"]).all((1, 2, 3))
    assert (linear | cubic).all() and 70 < linear.sum() < 122


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_a_shift_is_torchvisions_resize_and_random_crop_with_padding(interpolation):
    """Of the 24 photographs some are upright, some lie; 6 of 48 pixels is 28 of 224."""
    policy = ShiftPolicy(0.125, interpolation)
    made = rendered(Renderer(48, 1, policy, 0.0), PHOTOS)
    offsets = draw_shifts(
        policy, seed=1, epoch=0, indices=np.arange(24), sides=np.array(SIZES), size_px=48
    )
    for image, ours, (top, left) in zip(PHOTOS, made, offsets.tolist(), strict=True):
        whole = resize(Image.fromarray(image), [48], InterpolationMode(interpolation))
        padded = pad(whole, [6])  # black, as RandomCrop(48, padding=6) pads
        theirs = np.asarray(crop(padded, top + 6, left + 6, 48, 48))
        mean, most = difference(ours, theirs)
        assert mean < 0.1 and most <= 2
        assert ((ours == 0).all((1, 2)) >= (theirs == 0).all((1, 2))).all()


def test_an_image_of_the_size_wanted_is_shifted_and_not_resampled():
    stored = np.random.default_rng(0).integers(1, 256, (1, 16, 16, 3), dtype=np.uint8)
    policy = ShiftPolicy(0.25)
    made = rendered(Renderer(16, 3, policy, 0.0), list(stored), epoch=7)[0]
    ((top, left),) = draw_shifts(
        policy, seed=3, epoch=7, indices=np.arange(1), sides=np.array([[16, 16]]), size_px=16
    )
    assert top or left
    expected = np.pad(stored[0], ((4, 4), (4, 4), (0, 0)))[top + 4 : top + 20, left + 4 : left + 20]
    assert (made == expected).all()


def test_flips_mirror_about_half():
    stored = np.random.default_rng(0).integers(0, 256, (400, 8, 8, 3), dtype=np.uint8)
    out = rendered(Renderer(8, 0, None, 0.5), list(stored))
    mirrored = (out == stored[:, :, ::-1]).all((1, 2, 3))
    kept = (out == stored).all((1, 2, 3))
    assert (mirrored ^ kept).all() and 160 < mirrored.sum() < 240


def test_augmentation_comes_last_and_each_image_has_its_own():
    policy, fill = parse_policy("rand-m9-mstd0.5-inc1"), (10, 200, 30)
    plain = Renderer(32, 5, CropPolicy(), 0.5)
    made = rendered(Renderer(32, 5, CropPolicy(), 0.5, policy, fill), PHOTOS, epoch=2)
    draws = draw_ops(policy, seed=5, epoch=2, indices=np.arange(24))
    for row, image in enumerate(rendered(plain, PHOTOS, epoch=2)):
        before = Image.fromarray(np.ascontiguousarray(image))
        assert (made[row] == np.asarray(augment_image(before, draws[row], fill))).all()
    assert sum((a != b).any() for a, b in zip(made, rendered(plain, PHOTOS, 2), strict=True)) > 8


SLOW = """
import sys
import numpy as np
from t2t.data.render import resized
image = np.random.default_rng(0).integers(0, 256, (97, 300, 3), dtype=np.uint8)
for bicubic in (False, True):
    sys.stdout.buffer.write(resized(image, 224, 224, bicubic).tobytes())
"""


def test_pixels_do_not_depend_on_the_processors_vectors():
    """torch takes other code on processors without AVX2: the integers are the same."""
    image = np.random.default_rng(0).integers(0, 256, (97, 300, 3), dtype=np.uint8)
    slow = subprocess.run(
        [sys.executable, "-c", SLOW],
        cwd=ROOT,
        env={"PATH": "", "ATEN_CPU_CAPABILITY": "default"},
        check=True,
        capture_output=True,
    ).stdout
    fast = [resized(image, 224, 224, bicubic) for bicubic in (False, True)]
    assert slow == b"".join(made.tobytes() for made in fast)
