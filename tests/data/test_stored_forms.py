"""What a shard stores of an image, raw or as a JPEG file."""

import io

import numpy as np
import pytest
from PIL import Image

from t2t.data.images import stored_pixels
from t2t.data.stored_forms import JpegForm, RawForm
from t2t.errors import ConfigError, DataError
from tests.data.photographs import jpeg, photograph, turned

FORM = JpegForm(max_side_px=80, quality=90)
PHOTO = photograph(1, 60, 80)


def opened(content: bytes) -> Image.Image:
    return Image.open(io.BytesIO(content))


def pixels_of(content: bytes) -> np.ndarray:
    return np.asarray(opened(content).convert("RGB"))


def moments(pixels: np.ndarray) -> list:
    flat = pixels.reshape(-1, 3).astype(np.int64)
    return [flat.sum(0).tolist(), (flat * flat).sum(0).tolist()]


def test_raw_is_the_evaluations_view_byte_by_byte():
    stored = RawForm(48, 0.9).stored(PHOTO)
    expected = stored_pixels(PHOTO, 48, 0.9)
    assert stored.content == expected.tobytes() and (stored.height, stored.width) == (48, 48)
    assert stored.moments.tolist() == moments(expected)


@pytest.mark.parametrize("exif", [b"", turned(1), turned(0)])
@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:0"])
def test_a_jpeg_that_needs_no_change_keeps_its_bytes(exif, subsampling):
    own = jpeg(PHOTO, quality=97, exif=exif, subsampling=subsampling, comment="as it came")
    stored = FORM.stored(opened(own))
    assert stored.content == own and (stored.height, stored.width) == (60, 80)
    assert stored.moments.tolist() == moments(pixels_of(own))


CHANGED = {
    "too large": (jpeg(photograph(1, 60, 81), quality=97), (59, 80)),
    "turned": (jpeg(PHOTO, exif=turned(6)), (80, 60)),
    "progressive": (jpeg(PHOTO, progressive=True, comment="as it came"), (60, 80)),
    "grey": (jpeg(PHOTO.convert("L")), (60, 80)),
    "CMYK": (jpeg(PHOTO.convert("CMYK")), (60, 80)),
}


@pytest.mark.parametrize("kind", CHANGED)
def test_all_else_is_compressed_anew(kind):
    own, size = CHANGED[kind]
    stored = FORM.stored(opened(own))
    image = opened(stored.content)
    assert stored.content != own and (stored.height, stored.width) == size
    assert (image.format, image.mode, image.size) == ("JPEG", "RGB", size[::-1])
    assert not image.info.get("progressive") and not image.getexif() and "comment" not in image.info
    assert stored.moments.tolist() == moments(np.asarray(image))


def test_turning_and_shrinking_are_pillows():
    sideways = jpeg(PHOTO.transpose(Image.Transpose.ROTATE_90), quality=100, exif=turned(6))
    upright = Image.fromarray(np.rot90(pixels_of(sideways), -1))
    assert FORM.stored(opened(sideways)).content == jpeg(upright, quality=90)
    half = upright.resize((40, 30), Image.Resampling.BICUBIC)
    assert JpegForm(40, 95).stored(opened(sideways)).content == jpeg(half, quality=95)


@pytest.mark.parametrize("size", [(500, 333), (333, 500), (401, 400), (1000, 3), (3, 1000)])
def test_the_size_is_the_one_ffcv_would_take(size):
    from t2t.data.ffcv_import import import_ffcv

    import_ffcv()
    from ffcv.fields.rgb_image import resizer

    stored = JpegForm(400, 90).stored(Image.new("RGB", size))
    theirs = resizer(np.zeros((*size[::-1], 3), np.uint8), 400).shape if min(size) > 3 else None
    assert theirs is None or (stored.height, stored.width) == theirs[:2]
    assert max(stored.height, stored.width) == 400 and min(stored.height, stored.width) >= 1


def test_without_a_limit_the_size_is_kept():
    stored = JpegForm(None, 90).stored(Image.new("RGB", (3000, 20)))
    assert (stored.height, stored.width) == (20, 3000)


def test_quality_counts():
    sizes = [len(JpegForm(None, quality).stored(PHOTO).content) for quality in (50, 90, 100)]
    assert sizes == sorted(sizes) and sizes[2] > 2 * sizes[0]


def test_an_image_too_large_for_a_page_is_refused(monkeypatch):
    monkeypatch.setattr(JpegForm, "page_bytes", 2000)
    own = jpeg(PHOTO, quality=100)
    assert len(own) > 2000
    with pytest.raises(DataError, match=r"bytes as a JPEG, a page holds 2000; set max_side_px"):
        JpegForm(None, 100).stored(opened(own))
    assert len(JpegForm(None, 30).stored(opened(own)).content) <= 2000


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: RawForm(0, 1.0), r"image_size must lie in 1\.\.836 pixels, not 0"),
        (lambda: RawForm(837, 1.0), "not 837"),
        (lambda: RawForm(16, 0.0), r"crop_pct must lie in \(0, 1\], not 0"),
        (lambda: JpegForm(0, 90), "max_side_px must lie in 1..65500 pixels, or be null, not 0"),
        (lambda: JpegForm(70000, 90), "not 70000"),
        (lambda: JpegForm(400, 0), r"quality must lie in 1\.\.100, not 0"),
    ],
)
def test_values_out_of_range_are_refused(make, message):
    with pytest.raises(ConfigError, match=message):
        make()
