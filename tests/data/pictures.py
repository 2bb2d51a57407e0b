"""Pictures to augment: real photographs, and what arithmetic finds hard."""

from functools import cache

import numpy as np
from sklearn.datasets import load_sample_image


@cache
def pictures(height: int = 61, width: int = 90) -> np.ndarray:
    """(8, height, width, 3) uint8: four crops of scikit-learn's photographs, noise, a flat
    colour, a ramp, and pixels of black and white."""
    rng = np.random.default_rng(0)
    photographs = [load_sample_image(name) for name in ("china.jpg", "flower.jpg")]
    crops = [
        photograph[top : top + height, left : left + width]
        for photograph in photographs
        for top, left in ((0, 0), (150, 300))
    ]
    ramp = np.broadcast_to(np.linspace(3, 200, width).astype(np.uint8)[:, None], crops[0].shape)
    made = [
        rng.integers(0, 256, crops[0].shape),
        np.full_like(crops[0], 77),
        ramp,
        rng.integers(0, 2, crops[0].shape) * 255,
    ]
    drawn = np.stack([*crops, *made]).astype(np.uint8)
    drawn.flags.writeable = False
    return drawn
