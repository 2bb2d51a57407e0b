"""Shards are FFCV's files: its own loader and decoders read them, without our code."""

import warnings

import numpy as np
import pytest

from t2t.data.beton import BetonFile
from t2t.data.decode import decode_sample
from t2t.data.ffcv_import import import_ffcv


@pytest.fixture
def without_jit():
    """FFCV's JIT takes ten seconds and changes no pixel."""
    import_ffcv()
    from ffcv.pipeline.compiler import Compiler

    before = Compiler.is_enabled
    Compiler.set_enabled(False)
    yield
    Compiler.set_enabled(before)


def read_by_ffcv(path, decoder) -> tuple[np.ndarray, np.ndarray]:
    """All images and labels in the shard's order."""
    from ffcv.fields.basics import IntDecoder
    from ffcv.loader import Loader, OrderOption

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        loader = Loader(
            str(path),
            batch_size=16,
            num_workers=1,
            order=OrderOption.SEQUENTIAL,
            os_cache=True,
            drop_last=False,
            pipelines={"image": [decoder], "label": [IntDecoder()]},
        )
        parts = [(images.copy(), labels.copy()) for images, labels in loader]
    images, labels = (np.concatenate(part) for part in zip(*parts, strict=True))
    return images, labels[:, 0]


def test_raw(noise_shard, without_jit):
    from ffcv.fields.rgb_image import SimpleRGBImageDecoder

    images, labels = read_by_ffcv(noise_shard, SimpleRGBImageDecoder())
    beton = BetonFile(noise_shard)
    stored = [beton.stored(index).reshape(40, 40, 3) for index in range(53)]
    assert (images == np.stack(stored)).all() and (labels == beton.labels).all()


def test_jpeg(jpeg_shard, without_jit):
    """FFCV decodes with a faster, less exact transform and resizes as OpenCV's area method."""
    import cv2
    from ffcv.fields.rgb_image import CenterCropRGBImageDecoder

    images, labels = read_by_ffcv(jpeg_shard, CenterCropRGBImageDecoder((32, 32), 1.0))
    beton = BetonFile(jpeg_shard)
    assert (labels == beton.labels).all() and len(images) == 40
    for index, theirs in enumerate(images):
        whole = decode_sample(beton, index, beton.stored(index))
        height, width, _ = whole.shape
        side = min(height, width)
        top, left = (height - side) // 2, (width - side) // 2
        view = np.ascontiguousarray(whole[top : top + side, left : left + side])
        ours = cv2.resize(view, (32, 32), interpolation=cv2.INTER_AREA)
        assert np.abs(ours.astype(int) - theirs).mean() < 3
