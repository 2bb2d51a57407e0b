"""Photographs as the networks see them, for a look into a network outside of any data set.

pixels = photographs(["cat.jpg", "dog.jpg"], image_size=224)
look = look_inside(model, as_batch(pixels))
write_gallery(look, pixels, Path("pictures"), "T2T-ViT-14")
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from t2t.data.augment import IMAGENET_MEAN, IMAGENET_STD, normalize
from t2t.data.images import stored_pixels
from t2t.data.sources.indexed import IMAGE_FORMATS
from t2t.data.types import Pixels
from t2t.errors import DataError

# The paper's: the share of the short side that is left of a photograph.
_CROP_PCT = 0.9


def photographs(paths: Sequence[str | Path], image_size: int) -> Pixels:
    """The paper's evaluation view of each file, upright: (B, image_size, image_size, 3) uint8.

    Raises:
        DataError: a file cannot be read as an image.
    """
    views = []
    for path in paths:
        try:
            with Image.open(path, formats=IMAGE_FORMATS) as image:
                views.append(stored_pixels(image, image_size, _CROP_PCT))
        except (OSError, SyntaxError, ValueError) as error:
            known = ", ".join(IMAGE_FORMATS)
            raise DataError(f"{path}: no readable image in one of {known} ({error})") from None
    return np.stack(views)


def as_batch(
    pixels: Pixels,
    mean: Sequence[float] = IMAGENET_MEAN,
    std: Sequence[float] = IMAGENET_STD,
) -> Tensor:
    """Pixels (B, H, W, 3) uint8 as a network takes them: (B, 3, H, W) float32, normalised by the
    statistics of its training, ImageNet's unless told otherwise."""
    return normalize(torch.from_numpy(pixels).permute(0, 3, 1, 2), mean, std)
