"""What a shard stores of an image."""

import numpy as np
import pytest
from PIL import Image
from timm.data.transforms_factory import create_transform

from t2t.data.images import resize_centre_crop, stored_pixels, upright_rgb
from t2t.errors import DataError


def noise(height: int, width: int, channels: int = 3) -> np.ndarray:
    shape = (height, width, channels) if channels > 1 else (height, width)
    return np.random.default_rng(height * width).integers(0, 256, shape, dtype=np.uint8)


@pytest.mark.parametrize("crop_pct", [1.0, 0.9, 0.875])
@pytest.mark.parametrize(("height", "width"), [(64, 64), (51, 80), (97, 33), (8, 8)])
def test_evaluation_view_equals_timms(height, width, crop_pct):
    image = Image.fromarray(noise(height, width))
    timms = create_transform(
        (3, 32, 32), interpolation="bicubic", crop_pct=crop_pct, use_prefetcher=True
    )
    ours = np.asarray(resize_centre_crop(image, 32, crop_pct))
    assert (ours == np.asarray(timms(image)).transpose(1, 2, 0)).all()


def test_an_image_of_the_stored_size_is_kept_as_it_is():
    pixels = noise(32, 32)
    assert (stored_pixels(Image.fromarray(pixels), 32, 1.0) == pixels).all()


def test_exif_orientation_is_applied(tmp_path):
    pixels = np.zeros((4, 6, 3), np.uint8)
    pixels[0] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: rotate by 90 degrees clockwise to see it upright
    Image.fromarray(pixels).save(tmp_path / "turned.png", exif=exif)
    upright = np.asarray(upright_rgb(Image.open(tmp_path / "turned.png")))
    assert upright.shape == (6, 4, 3)
    assert (upright[:, -1] == 255).all() and (upright[:, :-1] == 0).all()


def test_sixteen_bits_are_scaled_not_clipped(tmp_path):
    grey = np.arange(0, 65536, 257, dtype=np.uint16).reshape(16, 16)
    Image.fromarray(grey).save(tmp_path / "deep.png")
    rgb = np.asarray(upright_rgb(Image.open(tmp_path / "deep.png")))
    assert (rgb == (grey >> 8).astype(np.uint8)[..., None]).all()


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK"])
def test_common_modes_become_rgb(mode):
    image = Image.fromarray(noise(9, 7)).convert(mode)
    assert upright_rgb(image).mode == "RGB" and upright_rgb(image).size == (7, 9)


@pytest.mark.parametrize("mode", ["I", "F"])
def test_modes_without_a_range_are_refused(mode):
    with pytest.raises(DataError, match=f"mode '{mode}'"):
        upright_rgb(Image.new(mode, (4, 4)))
