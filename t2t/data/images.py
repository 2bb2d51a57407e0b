"""From any still image to the upright RGB image that is stored, and to the evaluation's view."""

import math

import numpy as np
from PIL import Image, ImageOps

from t2t.data.types import Pixels
from t2t.errors import DataError

SIXTEEN_BIT_MODES = ("I;16", "I;16B", "I;16L", "I;16N")
GREY_MODES = ("1", "L", "LA", "La")
COLOUR_MODES = ("P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr")


def upright_rgb(image: Image.Image) -> Image.Image:
    """The image turned upright by its EXIF tag and converted to 8-bit RGB.

    torchvision's and timm's loaders, and so the paper's code, leave turned images as they lie.
    16-bit greyscale is scaled to 8 bits, where Pillow's own conversion would clip it to white.
    Transparency is dropped, as those loaders do.

    Raises DataError for a mode without a defined range (32-bit integers, floats); what Pillow
    raises for damaged files passes through.
    """
    image = ImageOps.exif_transpose(image)
    if image.mode in SIXTEEN_BIT_MODES:
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.mode not in GREY_MODES + COLOUR_MODES:
        raise DataError(f"image mode {image.mode!r} has no fixed range; give 8 or 16 bits")
    return image.convert("RGB")


def resize_centre_crop(image: Image.Image, size: int, crop_pct: float) -> Image.Image:
    """The paper's evaluation view: bicubic to a short side of floor(size / crop_pct), centre crop.

    Gives what timm's evaluation transform gives (Resize, CenterCrop), `size` x `size` pixels.
    """
    short_px = math.floor(size / crop_pct)
    width, height = image.size
    if width <= height:
        new_width, new_height = short_px, int(short_px * height / width)
    else:
        new_width, new_height = int(short_px * width / height), short_px
    if (new_width, new_height) != image.size:
        image = image.resize((new_width, new_height), Image.Resampling.BICUBIC)
    left, top = round((new_width - size) / 2), round((new_height - size) / 2)
    return image.crop((left, top, left + size, top + size))


def stored_pixels(image: Image.Image, size: int, crop_pct: float) -> Pixels:
    """The uint8 pixels (size, size, 3) of an image as a raw shard keeps them."""
    return np.asarray(resize_centre_crop(upright_rgb(image), size, crop_pct))


def fits(image: Image.Image, max_side_px: int | None) -> bool:
    """Whether the image's longer side is `max_side_px` at most; None is no limit."""
    return max_side_px is None or max(image.size) <= max_side_px


def shrink(image: Image.Image, max_side_px: int | None) -> Image.Image:
    """The image, resized (bicubic, antialiased) so that its longer side is `max_side_px`.

    An image that fits comes back as it is. The shorter side is rounded down, as FFCV does, and is
    1 at least.
    """
    if max_side_px is None or fits(image, max_side_px):
        return image
    ratio = max_side_px / max(image.size)
    width, height = (max(1, int(side * ratio)) for side in image.size)
    return image.resize((width, height), Image.Resampling.BICUBIC)
