"""The file written page by page is the one that FFCV's own writer makes."""

import io
import warnings

import numpy as np
import pytest
from PIL import Image

from t2t.data.beton import BetonFile
from t2t.data.beton_writer import BetonWriter
from t2t.data.ffcv_import import import_ffcv
from t2t.data.types import Pixels

RAW_PAGE, JPEG_PAGE = 1 << 21, 1 << 23


def noise(number: int, height: int, width: int) -> Pixels:
    rng = np.random.default_rng(number)
    return rng.integers(0, 256, (height, width, 3), dtype=np.uint8)


def written_by_ffcv(path, samples, page_bytes, field_arguments) -> bytes:
    """The bytes of FFCV's own writer; a sample is (pixels or a JPEG file, label)."""
    import_ffcv()
    from ffcv.fields import IntField, RGBImageField
    from ffcv.types import TYPE_ID_HANDLER
    from ffcv.writer import DatasetWriter

    class ReadyMadeJpeg(RGBImageField):
        """Stores JPEG files that exist, where FFCV's compresses pixels itself."""

        def encode(self, destination, image, malloc):
            size = Image.open(io.BytesIO(image)).size
            destination["mode"] = 0
            destination["width"], destination["height"] = size
            destination["data_ptr"], storage = malloc(len(image))
            storage[:] = np.frombuffer(image, np.uint8)

    kind = RGBImageField if field_arguments else ReadyMadeJpeg
    fields = {"image": kind(**field_arguments), "label": IntField()}
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        patch.setitem(TYPE_ID_HANDLER, 2, kind)
        patch.setattr("ffcv.writer.tqdm", lambda **_: open_bar)
        writer = DatasetWriter(str(path), fields, page_size=page_bytes, num_workers=1)
        writer.from_indexed_dataset(samples)
    return path.read_bytes()


class open_bar:
    update = close = staticmethod(lambda *_: None)


def ours(path, samples, mode, page_bytes, capacity=None) -> bytes:
    with BetonWriter(path, capacity or len(samples), mode, page_bytes) as writer:
        for image, label in samples:
            size = Image.open(io.BytesIO(image)).size if mode == "jpg" else image.shape[1::-1]
            content = image if mode == "jpg" else image.tobytes()
            writer.add(content, width=size[0], height=size[1], label=label)
        writer.finish()
    return path.read_bytes()


@pytest.mark.parametrize("sides", [(5, 5), (300, 300), (836, 836), (1024, 682)])
def test_raw_bytes_are_ffcvs(tmp_path, sides):
    """One page, several, pages with room left, pages filled almost to the last byte."""
    samples = [(noise(number, *sides), number % 7 - 2) for number in range(23)]
    theirs = written_by_ffcv(tmp_path / "a", samples, RAW_PAGE, {"write_mode": "raw"})
    assert ours(tmp_path / "b", samples, "raw", RAW_PAGE) == theirs


def test_jpeg_bytes_are_ffcvs(tmp_path):
    samples = []
    for number in range(36):
        file = io.BytesIO()
        Image.fromarray(noise(number, 300 + number, 900)).save(file, "JPEG", quality=100)
        samples.append((file.getvalue(), number))
    assert sum(len(image) for image, _ in samples) > 2 * JPEG_PAGE
    theirs = written_by_ffcv(tmp_path / "a", samples, JPEG_PAGE, {})
    assert ours(tmp_path / "b", samples, "jpg", JPEG_PAGE) == theirs


def test_fewer_samples_than_there_was_room_for(tmp_path):
    from ffcv.reader import Reader

    samples = [(noise(number, 300, 200), number) for number in range(30)]
    ours(tmp_path / "x.beton", samples, "raw", RAW_PAGE, capacity=100_000)
    beton, theirs = BetonFile(tmp_path / "x.beton"), Reader(str(tmp_path / "x.beton"))
    assert beton.num_samples == theirs.num_samples == len(theirs.alloc_table) == 30
    for index, (image, label) in enumerate(samples):
        assert beton.stored(index).tobytes() == image.tobytes()
        assert beton.labels[index] == label == theirs.metadata["f1"][index]


def test_an_unfinished_file_is_none(tmp_path):
    from t2t.errors import DataError

    path = tmp_path / "x.beton"
    with BetonWriter(path, 30, "raw", RAW_PAGE) as writer:
        for number in range(30):
            writer.add(noise(number, 300, 200).tobytes(), width=200, height=300, label=0)
    assert path.stat().st_size > RAW_PAGE
    with pytest.raises(DataError, match="format version 0"):
        BetonFile(path)
