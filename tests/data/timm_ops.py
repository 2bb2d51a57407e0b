"""timm's RandAugment with what it draws at random given, or written down."""

from contextlib import contextmanager
from types import SimpleNamespace

import numpy as np
from PIL import Image
from timm.data import auto_augment

CONFIG = "rand-m9-mstd0.5-inc1"
FILL = (124, 116, 104)


@contextmanager
def _random(**replacements):
    kept = auto_augment.random
    auto_augment.random = SimpleNamespace(**replacements)
    try:
        yield
    finally:
        auto_augment.random = kept


def timm_op(
    image: Image.Image, name: str, magnitude: float, sign: float, bicubic: bool
) -> Image.Image:
    """One operation by timm, its levels included."""
    op = auto_augment.AugmentOp(
        name, prob=1.0, magnitude=magnitude, hparams={"img_mean": FILL, "magnitude_std": 0}
    )
    # timm turns to the other direction where its number exceeds 1/2.
    direction, filter_place = 0.25 if sign > 0 else 0.75, int(bicubic)
    with _random(random=lambda: direction, choice=lambda filters: filters[filter_place]):
        return op(image)


def timm_draws(count: int) -> tuple[np.ndarray, list[tuple[int, str, float, object]]]:
    """What timm's own sampler does for `count` images: the operations that it chose, (count, 2)
    places in its list, and the calls that it made: image, operation, argument, filter."""
    import random

    np.random.seed(0)
    random.seed(0)
    transform = auto_augment.rand_augment_transform(CONFIG, {"img_mean": FILL})
    chosen, calls = [], []
    for place, op in enumerate(transform.ops):
        transform.ops[place] = _Recorded(op, place, chosen, calls)
    for image in range(count):
        transform(image)
    return np.array(chosen).reshape(count, 2), calls


class _Recorded:
    """Stands for an operation; draws as it does, and leaves the image, a number, alone."""

    def __init__(self, op, place, chosen, calls):
        self.op, self.place, self.chosen, self.calls = op, place, chosen, calls
        op.aug_fn = self.record

    def __call__(self, image):
        self.chosen.append(self.place)
        return self.op(image)

    def record(self, image, *arguments, **options):
        auto_augment._check_args_tf(options)
        argument = arguments[0] if arguments else 0.0
        self.calls.append((image, self.op.name, argument, options["resample"]))
        return image
