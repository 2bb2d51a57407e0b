"""Decoding what a shard stores of an image, to the same pixels on every machine.

JPEG files go through libjpeg-turbo's exact integer transform, in the decoder that torchvision is
built with, which does not hold the interpreter's lock; where a torchvision has none, in Pillow's.
Both give the same pixels (a test compares them). The decoder's library is loaded by itself:
importing torchvision takes seconds, and its Python function has been deprecated in favour of
TorchCodec since 0.29.
"""

import importlib.util
import io
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from t2t.data.beton import REMEDY, BetonFile
from t2t.data.types import Pixels
from t2t.errors import DataError

# torchvision.io.ImageReadMode.RGB
_RGB = 3


def decode_sample(beton: BetonFile, index: int, content: Pixels) -> Pixels:
    """The pixels (H, W, 3) of a sample, whose stored bytes are `content` (n,).

    Raises DataError naming shard and sample where a JPEG file cannot be decoded, or has another
    size than the shard says.
    """
    shape = int(beton.heights[index]), int(beton.widths[index]), 3
    if beton.write_mode == "raw":
        return content.reshape(shape)
    try:
        pixels = decode_jpeg(content)
    except DataError as error:
        raise DataError(f"{beton.path}: sample {index} is {error}; {REMEDY}") from None
    if pixels.shape != shape:
        raise DataError(
            f"{beton.path}: sample {index} decodes to {pixels.shape}, its record says {shape}; "
            f"{REMEDY}"
        )
    return pixels


def decode_jpeg(content: Pixels) -> Pixels:
    """The RGB pixels (H, W, 3) uint8 of a JPEG file, given as an array (n,) of its bytes.

    Raises DataError for bytes that are no JPEG file, or a damaged one; not every damage shows.
    """
    return _decoder()(content)


@cache
def _decoder() -> Callable[[Pixels], Pixels]:
    spec = importlib.util.find_spec("torchvision")
    folder = Path(spec.origin).parent if spec and spec.origin else Path()
    for library in sorted(folder.glob("image*.so")):
        try:
            torch.ops.load_library(library)
            return _through(torch.ops.image.decode_jpeg.default)
        except (OSError, AttributeError):  # of another torch, or without the operator
            continue
    return decode_with_pillow


def _through(operator: Any) -> Callable[[Pixels], Pixels]:
    def decode(content: Pixels) -> Pixels:
        try:
            # A copy where the bytes cannot be written to: torch does not take those.
            pixels = operator(torch.from_numpy(np.require(content, requirements="W")), _RGB)
        except RuntimeError as error:
            # The message stands behind the operator's name and a line of its source.
            reason = str(error).splitlines()[0].split(", ", 2)[-1]
            raise DataError(f"not decodable ({reason})") from None
        return pixels.permute(1, 2, 0).numpy()

    return decode


def decode_with_pillow(content: Pixels) -> Pixels:
    """As `decode_jpeg`, where torchvision's decoder is absent."""
    try:
        with Image.open(io.BytesIO(content.tobytes()), formats=["JPEG"]) as image:
            return np.asarray(image.convert("RGB"))
    except (OSError, SyntaxError, ValueError) as error:
        raise DataError(f"not decodable ({error})") from None
