"""The two forms in which a shard stores an image: raw pixels of one size, or a JPEG file.

The channel sums are exact integers over the pixels that a reader will get, so that they can be
added up in any order.
"""

import io
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image
from PIL.JpegImagePlugin import JpegImageFile

from t2t.data.images import fits, resize_centre_crop, shrink, upright_rgb
from t2t.data.twins import shown_hash
from t2t.data.types import Pixels, WriteMode
from t2t.errors import ConfigError, DataError

LEVELS = np.arange(256, dtype=np.int64)


@dataclass(frozen=True)
class StoredImage:
    """What is stored of an image: `content`, and its size in pixels.

    `moments` (2, 3) int64: for R, G, B the sum of its grey levels (0..255), and of their squares.
    `shown` is the `shown_hash` of the whole image, before anything was cut off or compressed.
    """

    content: bytes
    height: int
    width: int
    shown: int
    moments: NDArray[np.int64] = field(repr=False)


@dataclass(frozen=True)
class RawForm:
    """Square RGB pixels: the paper's evaluation view (`t2t.data.images.resize_centre_crop`).

    Raises ConfigError where a value is out of range.
    """

    image_size: int
    crop_pct: float
    mode: ClassVar[WriteMode] = "raw"
    page_bytes: ClassVar[int] = 1 << 21

    def __post_init__(self) -> None:
        largest = int((self.page_bytes / 3) ** 0.5)
        if not 1 <= self.image_size <= largest:
            raise ConfigError(f"image_size must lie in 1..{largest} pixels, not {self.image_size}")
        if not 0 < self.crop_pct <= 1:
            raise ConfigError(f"crop_pct must lie in (0, 1], not {self.crop_pct}")

    def stored(self, image: Image.Image) -> StoredImage:
        """The image's view as rows of RGB bytes."""
        upright = upright_rgb(image)
        pixels = np.asarray(resize_centre_crop(upright, self.image_size, self.crop_pct))
        return _stored(pixels.tobytes(), pixels, upright)


@dataclass(frozen=True)
class JpegForm:
    """The whole image as a JPEG file, its longer side `max_side_px` at most (None: any).

    A JPEG that has to be neither shrunk nor turned nor converted keeps its own bytes, and so all
    of its pixels; unless it is progressive, which takes several times as long to decode. All else
    is compressed with `quality`, 1..100, colour at half the resolution (4:2:0), as FFCV does.

    Every image is decoded once more with the decoder of the readers before it is stored. Raises
    ConfigError where a value is out of range.
    """

    max_side_px: int | None
    quality: int
    mode: ClassVar[WriteMode] = "jpg"
    page_bytes: ClassVar[int] = 1 << 23

    def __post_init__(self) -> None:
        if self.max_side_px is not None and not 1 <= self.max_side_px <= 65500:
            raise ConfigError(
                f"max_side_px must lie in 1..65500 pixels, or be null, not {self.max_side_px}"
            )
        if not 1 <= self.quality <= 100:
            raise ConfigError(f"quality must lie in 1..100, not {self.quality}")

    def stored(self, image: Image.Image) -> StoredImage:
        """The image as a JPEG file. Raises DataError for one that no page can hold."""
        own = self._own_bytes(image)
        upright = upright_rgb(image)
        if own is not None:
            kept = _decoded(own)
            # A damaged file can be read in more than one way.
            if np.array_equal(kept, np.asarray(upright)):
                return _stored(own, kept, upright)
        content = _compressed(shrink(upright, self.max_side_px), self.quality)
        if len(content) > self.page_bytes:
            raise DataError(
                f"{len(content)} bytes as a JPEG, a page holds {self.page_bytes}; set max_side_px"
            )
        return _stored(content, _decoded(content), upright)

    def _own_bytes(self, image: Image.Image) -> bytes | None:
        """The file that `image` is read from, where it can be stored as it is."""
        if type(image) is not JpegImageFile or image.mode != "RGB" or image.fp is None:
            return None
        turned = image.getexif().get(ExifTags.Base.Orientation, 1) in range(2, 9)
        if turned or image.info.get("progressive") or not fits(image, self.max_side_px):
            return None
        place = image.fp.tell()
        image.fp.seek(0)
        content = image.fp.read()
        image.fp.seek(place)
        return content if len(content) <= self.page_bytes else None


# How an image is stored; picklable, for it is applied in child processes. `mode` is the shard's,
# and an image must fit into one of its pages of `page_bytes`.
Form = RawForm | JpegForm


def _compressed(image: Image.Image, quality: int) -> bytes:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality, comment=b"")
    return file.getvalue()


def _decoded(content: bytes) -> Pixels:
    from t2t.data.decode import decode_jpeg  # torch's seconds are not for the raw form to pay

    return decode_jpeg(np.frombuffer(content, np.uint8))


def _stored(content: bytes, pixels: Pixels, upright: Image.Image) -> StoredImage:
    height, width, _ = pixels.shape
    return StoredImage(content, height, width, shown_hash(upright), channel_moments(pixels))


def channel_moments(pixels: Pixels) -> NDArray[np.int64]:
    """The sums of grey levels and of their squares, (2, 3) int64, of an image (H, W, 3)."""
    histogram = np.array(Image.fromarray(pixels).histogram(), np.int64).reshape(3, 256)
    return np.stack([histogram @ LEVELS, histogram @ LEVELS**2])
