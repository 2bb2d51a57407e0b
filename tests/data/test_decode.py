"""One set of pixels for a JPEG file, whoever decodes it."""

import io

import numpy as np
import pytest
from PIL import Image

from t2t.data import decode
from t2t.data.beton import BetonFile
from t2t.data.decode import decode_jpeg, decode_sample, decode_with_pillow
from t2t.errors import DataError
from tests.data.photographs import jpeg, photograph


def array(content: bytes) -> np.ndarray:
    return np.frombuffer(content, np.uint8)


@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:2", "4:2:0"])
@pytest.mark.parametrize("quality", [30, 90, 100])
def test_every_decoder_gives_the_same_pixels(subsampling, quality):
    import cv2

    for number, (height, width) in enumerate([(1, 1), (7, 16), (33, 50), (120, 90), (17, 131)]):
        content = jpeg(photograph(number, height, width), quality=quality, subsampling=subsampling)
        pixels = decode_jpeg(array(content))
        assert pixels.shape == (height, width, 3) and pixels.dtype == np.uint8
        assert (pixels == np.asarray(Image.open(io.BytesIO(content)))).all()
        assert (pixels == decode_with_pillow(array(content))).all()
        assert (pixels == cv2.imdecode(array(content), cv2.IMREAD_COLOR_RGB)).all()


def test_torchvisions_library_is_the_one_in_use():
    assert decode._decoder() is not decode_with_pillow


def test_pillow_takes_over_where_torchvision_has_no_decoder(monkeypatch):
    monkeypatch.setattr(decode.importlib.util, "find_spec", lambda name: None)
    decode._decoder.cache_clear()
    try:
        assert decode._decoder() is decode_with_pillow
    finally:
        decode._decoder.cache_clear()


@pytest.mark.parametrize("decoder", [decode_jpeg, decode_with_pillow])
@pytest.mark.parametrize("damage", [lambda b: b[: len(b) // 2], lambda b: b"\0" + b, lambda _: b""])
def test_a_damaged_file_is_refused(decoder, damage):
    with pytest.raises(DataError, match="not decodable"):
        decoder(array(damage(jpeg(photograph(0, 60, 60)))))


def test_a_png_is_no_jpeg():
    file = io.BytesIO()
    photograph(0, 20, 20).save(file, "PNG")
    for decoder in (decode_jpeg, decode_with_pillow):
        with pytest.raises(DataError, match="not decodable"):
            decoder(array(file.getvalue()))


def test_the_shard_and_the_sample_are_named(jpeg_shard):
    beton = BetonFile(jpeg_shard)
    content = beton.stored(5)
    with pytest.raises(DataError, match=r"train.beton: sample 5 is not decodable \(.*\); write"):
        decode_sample(beton, 5, content[:100])
    other = next(i for i in range(40) if beton.heights[i] != beton.heights[5])
    with pytest.raises(DataError, match=r"sample 5 decodes to \(.*its record says"):
        decode_sample(beton, 5, beton.stored(other))
