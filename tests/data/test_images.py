"""What a shard stores of an image."""

import numpy as np
import pytest
from PIL import Image, ImageOps
from timm.data.transforms_factory import create_transform

from t2t.data.images import fits, resize_centre_crop, shrink, stored_pixels, upright_rgb
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


@pytest.mark.parametrize("size", [224, 384])
def test_evaluation_view_of_photographs_equals_timms(photos, size):
    """Untouched ImageNet photographs: grey, turned by EXIF, under 100 px, very long."""
    timms = create_transform(
        (3, size, size), interpolation="bicubic", crop_pct=0.9, use_prefetcher=True
    )
    paths = sorted((photos / "imagenet_odd_originals").rglob("*.JPEG"))
    kinds = set()
    for path in paths:
        image = Image.open(path)
        kinds.add((image.mode, image.getexif().get(0x0112, 1) == 6))
        upright = ImageOps.exif_transpose(image).convert("RGB")
        theirs = np.asarray(timms(upright)).transpose(1, 2, 0)
        assert (stored_pixels(Image.open(path), size, 0.9) == theirs).all(), path
    assert {("L", False), ("RGB", False), ("RGB", True)} <= kinds and len(paths) == 36


def test_every_odd_image_is_read_or_refused(photos):
    read, refused = [], []
    for path in sorted((photos / "odd_images").glob("*.*")):
        try:
            with Image.open(path) as image:
                assert upright_rgb(image).mode == "RGB"
            read.append(path.name)
        except (OSError, DataError):
            refused.append(path.name)
    assert refused == ["broken.png", "broken_data_stream.png", "truncated_jpeg.jpg"]
    assert len(read) == 28


def test_shrinking_antialiases_to_the_longer_side():
    image = Image.fromarray(noise(60, 90))
    assert shrink(image, None) is image and shrink(image, 90) is image
    assert fits(image, 90) and not fits(image, 89)
    small = shrink(image, 30)
    assert small.size == (30, 20) and np.asarray(small).std() < np.asarray(image).std() / 2


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
