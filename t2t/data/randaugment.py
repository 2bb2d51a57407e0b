"""RandAugment (Cubuk et al. 2020, arXiv:1909.13719) as the paper's recipe has it, image by image.

The recipe names it by timm's string, `rand-m9-mstd0.5-inc1`: for each image two operations out of
fifteen, drawn with replacement, each applied with probability 1/2 at a magnitude of N(9, 0.5) cut
to 0..10; "inc1" chooses the set whose effect grows with the magnitude. Operations are timm's own;
what they draw at random there (magnitude, sign, resampling filter) is given here.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from t2t.data.draws import Stream, uniforms
from t2t.errors import ConfigError

Fill = tuple[int, int, int]

# In the order of timm's `_RAND_INCREASING_TRANSFORMS`; an operation's id is its place here.
OPS = (
    "AutoContrast",
    "Equalize",
    "Invert",
    "Rotate",
    "PosterizeIncreasing",
    "SolarizeIncreasing",
    "SolarizeAdd",
    "ColorIncreasing",
    "ContrastIncreasing",
    "BrightnessIncreasing",
    "SharpnessIncreasing",
    "ShearX",
    "ShearY",
    "TranslateXRel",
    "TranslateYRel",
)
MAX_MAGNITUDE = 10
_DRAWS_PER_OP = 6
_SECTION = re.compile(r"(mstd|inc|m|n|p)(\d+(?:\.\d+)?)")


@dataclass(frozen=True)
class RandAugmentPolicy:
    """`num_ops` operations for each image, each applied with probability `prob` at a magnitude of
    N(`magnitude`, `magnitude_std`) cut to 0..10. Raises ConfigError for a value out of range."""

    magnitude: int
    magnitude_std: float
    num_ops: int
    prob: float

    def __post_init__(self) -> None:
        for name, low, high in (
            ("magnitude", 0, MAX_MAGNITUDE),
            ("magnitude_std", 0, MAX_MAGNITUDE),
            ("num_ops", 1, len(OPS)),
            ("prob", 0, 1),
        ):
            value = getattr(self, name)
            if not low <= value <= high:
                raise ConfigError(f"{name} must lie between {low} and {high}, not {value}")


def parse_policy(config: str) -> RandAugmentPolicy:
    """The policy that timm's string names: "rand" and, in any order, joined by dashes, m
    (magnitude), mstd (its deviation), n (operations), p (probability) and inc1.

    What is left out is as in timm: m10, mstd0, n2, p0.5. Raises ConfigError for anything else,
    also for the set of operations without inc1, which no row of the paper uses.
    """
    name, *sections = config.split("-")
    values: dict[str, str] = {}
    for section in sections:
        match = _SECTION.fullmatch(section)
        if match is None or match[1] in values:
            raise _not_a_policy(config, f"{section!r} is unknown or stands there twice")
        values[match[1]] = match[2]
    if name != "rand" or values.get("inc") != "1":
        raise _not_a_policy(config, "it must begin with 'rand' and contain 'inc1'")
    for key in ("m", "n"):
        if "." in values.get(key, ""):
            raise _not_a_policy(config, f"{key} must be a whole number")
    try:
        return RandAugmentPolicy(
            magnitude=int(values.get("m", MAX_MAGNITUDE)),
            magnitude_std=float(values.get("mstd", 0)),
            num_ops=int(values.get("n", 2)),
            prob=float(values.get("p", 0.5)),
        )
    except ConfigError as error:
        raise _not_a_policy(config, str(error)) from None


def _not_a_policy(config: str, problem: str) -> ConfigError:
    return ConfigError(
        f"RandAugment {config!r}: {problem}; expected a string such as 'rand-m9-mstd0.5-inc1'"
    )


@dataclass(frozen=True)
class OpDraws:
    """What happens to each image: arrays (B, n), or (n,) for one image.

    `ops`: places in OPS; `applied`: whether the operation takes place; `magnitudes`: 0..10;
    `signs`: 1 or -1, for the operations that have two directions; `bicubic`: the resampling
    filter of the geometric ones, else bilinear.
    """

    ops: NDArray[np.int64]
    applied: NDArray[np.bool_]
    magnitudes: NDArray[np.float64]
    signs: NDArray[np.float64]
    bicubic: NDArray[np.bool_]

    def __getitem__(self, rows: Any) -> "OpDraws":
        """The draws of one row, or of several."""
        return OpDraws(
            self.ops[rows],
            self.applied[rows],
            self.magnitudes[rows],
            self.signs[rows],
            self.bicubic[rows],
        )


def draw_ops(policy: RandAugmentPolicy, *, seed: int, epoch: int, indices: ArrayLike) -> OpDraws:
    """The operations of each sample, (B, num_ops); nothing but its own index decides them."""
    numbers = uniforms(Stream.RAND_AUGMENT, seed, epoch, indices, _DRAWS_PER_OP * policy.num_ops)
    by_op = numbers.reshape(-1, policy.num_ops, _DRAWS_PER_OP)
    choice, applied, radius, angle, sign, interpolation = np.ascontiguousarray(by_op.T)
    # Box and Muller's normal; 1 - radius lies in (0, 1].
    normal = np.sqrt(-2 * np.log(1 - radius)) * np.cos(2 * np.pi * angle)
    magnitudes = policy.magnitude + policy.magnitude_std * normal
    return OpDraws(
        (choice * len(OPS)).astype(np.int64).T,
        (applied < policy.prob).T,
        magnitudes.clip(0, MAX_MAGNITUDE).T,
        np.where(sign < 0.5, 1.0, -1.0).T,
        (interpolation >= 0.5).T,
    )


def _enhancement(level: float, sign: float) -> float:
    return max(0.1, 1.0 + sign * (level * 0.9))


_ARGUMENTS: dict[str, Callable[[float, float], float]] = {
    "Rotate": lambda level, sign: sign * (level * 30.0),
    "PosterizeIncreasing": lambda level, _: 4 - int(level * 4),
    "SolarizeIncreasing": lambda level, _: 256 - int(level * 256),
    "SolarizeAdd": lambda level, _: int(level * 110),
    "ColorIncreasing": _enhancement,
    "ContrastIncreasing": _enhancement,
    "BrightnessIncreasing": _enhancement,
    "SharpnessIncreasing": _enhancement,
    "ShearX": lambda level, sign: sign * (level * 0.3),
    "ShearY": lambda level, sign: sign * (level * 0.3),
    "TranslateXRel": lambda level, sign: sign * (level * 0.45),
    "TranslateYRel": lambda level, sign: sign * (level * 0.45),
}


def op_argument(op: str, magnitude: float, sign: float) -> float | None:
    """What the operation is told at a magnitude of 0..10; None for those that take nothing.

    Degrees for Rotate, bits kept for Posterize, a grey level for Solarize and SolarizeAdd, the
    weight of the image against its degenerate form for Color, Contrast, Brightness and Sharpness,
    a slope for Shear, a share of the side for Translate (timm's "increasing" levels).
    """
    argument = _ARGUMENTS.get(op)
    return None if argument is None else argument(magnitude / MAX_MAGNITUDE, sign)


def augment_image(image: Image.Image, draws: OpDraws, fill: Fill) -> Image.Image:
    """The RGB image after the operations of its `draws`, arrays (n,).

    `fill` colours what a geometric operation uncovers. The image given is left as it is.
    """
    for op, applied, magnitude, sign, bicubic in zip(
        draws.ops.tolist(),
        draws.applied.tolist(),
        draws.magnitudes.tolist(),
        draws.signs.tolist(),
        draws.bicubic.tolist(),
        strict=True,
    ):
        if applied:
            argument = op_argument(OPS[op], magnitude, sign)
            image = _apply(image, OPS[op], argument, bicubic, fill)
    return image


def _apply(
    image: Image.Image, op: str, argument: float | None, bicubic: bool, fill: Fill
) -> Image.Image:
    if op == "PosterizeIncreasing" and argument == 0:
        # Pillow gave black for no bits until it began to refuse them in version 13.
        return Image.new("RGB", image.size)
    resample = Image.Resampling.BICUBIC if bicubic else Image.Resampling.BILINEAR
    arguments = () if argument is None else (argument,)
    return _timm_ops()[op](image, *arguments, fillcolor=fill, resample=resample)


@cache
def _timm_ops() -> dict[str, Callable[..., Image.Image]]:
    """Imported when first used: timm costs each process seconds."""
    from timm.data.auto_augment import NAME_TO_OP

    return NAME_TO_OP


def fill_colour(channel_mean: Sequence[float]) -> Fill:
    """A data set's mean colour in grey levels, from three means in the range 0..1."""
    red, green, blue = (min(255, round(255 * value)) for value in channel_mean)
    return red, green, blue
