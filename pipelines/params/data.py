"""The parts of params.yaml that decide the data: `scales.<scale>.data` and `.shards`."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import Field, PlainValidator, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from pipelines.params.reader import ImageSize, ParamsPart, suggest

# What scikit-learn takes.
SplitSeed = Annotated[int, Field(ge=0, lt=1 << 32)]
ValFraction = Annotated[float, Field(gt=0, lt=1)]


class Digits(ParamsPart):
    """Scikit-learn's digits, turned by `quarter_turns`; `val_fraction` of each class is set aside,
    and of the others `train_per_class` are kept (null: all)."""

    source: Literal["digits"]
    split_seed: SplitSeed
    val_fraction: ValFraction
    quarter_turns: Annotated[int, Field(ge=0, le=3)] = 0
    train_per_class: Annotated[int, Field(ge=1)] | None = None


class Imagenette(ParamsPart):
    """Imagenette v2 with a short side of `size`."""

    source: Literal["imagenette"]
    size: Literal["160px", "320px", "full"]
    download: bool = False


class Imagenet(ParamsPart):
    """ImageNet-1k, which nobody may fetch for you."""

    source: Literal["imagenet"]


class Published(ParamsPart):
    """A set that its makers publish in one form."""

    source: Literal["cifar10", "cifar100", "flowers102"]
    download: bool = False


class ImageFolder(ParamsPart):
    """A folder or archive at `path` below the raw data; the other keys where it has no val/."""

    source: Literal["imagefolder"]
    path: Annotated[str, Field(min_length=1)]
    val_fraction: ValFraction | None = None
    split_seed: SplitSeed | None = None

    @model_validator(mode="after")
    def _both_or_neither(self) -> Self:
        given = {key: getattr(self, key) for key in ("val_fraction", "split_seed")}
        for key, other in (given, reversed(given)):
            if given[key] is None and given[other] is not None:
                raise _error_at(key, f"missing, since {other} is given", None)
        return self


SOURCES = (Digits, Imagenette, Imagenet, Published, ImageFolder)


def _by_its_source(value: Any) -> ParamsPart:
    """Validated by the model of `source` alone: a union's errors would name its branches."""
    models = {
        name: model
        for model in SOURCES
        for name in get_args(model.model_fields["source"].annotation)
    }
    if not isinstance(value, Mapping):
        raise PydanticCustomError("mapping", "should be a mapping with source")
    source = value.get("source")
    if not isinstance(source, str) or source not in models:
        raise _error_at("source", f"no such data set{suggest(str(source), models)}", source)
    known = models[source].model_fields
    for key in value:
        if key not in known:
            raise _error_at(
                str(key), f"unknown key of {source}{suggest(str(key), known)}", value[key]
            )
    return models[source].model_validate(value)


def _error_at(key: str, problem: str, value: Any) -> ValidationError:
    error = PydanticCustomError("data_params", problem)
    return ValidationError.from_exception_data(
        "data", [{"type": error, "loc": (key,), "input": value}]
    )


# `scales.<scale>.data`: the data set `source`, and what that set asks for.
DataParams = Annotated[
    Digits | Imagenette | Imagenet | Published | ImageFolder, PlainValidator(_by_its_source)
]


class TrainShardParams(ParamsPart):
    """`scales.<scale>.shards.train`: how training images are stored.

    `mode` raw: as validation images are. jpg: whole, the longer side `max_side_px` at most (null:
    any), compressed with `quality`, 1..100. `unreadable` skip leaves out images that cannot be
    read, up to 1 % of them; refuse stores nothing then.
    """

    mode: Literal["raw", "jpg"] = "raw"
    max_side_px: Annotated[int, Field(ge=16, le=65500)] | None = None
    quality: Annotated[int, Field(ge=1, le=100)] | None = None
    unreadable: Literal["refuse", "skip"] = "refuse"

    @model_validator(mode="after")
    def _keys_of_the_mode(self) -> Self:
        if self.mode == "jpg" and self.quality is None:
            raise _error_at("quality", "missing, since mode is jpg", None)
        if self.mode == "raw" and (self.max_side_px, self.quality) != (None, None):
            raise _error_at("mode", "max_side_px and quality are for mode jpg", self.mode)
        return self


class ShardParams(ParamsPart):
    """`scales.<scale>.shards`: the stored images.

    Validation images are the paper's view of them, `image_size` pixels square; `crop_pct` is the
    centre crop's share of a side. `train` says how training images are stored.
    """

    image_size: ImageSize
    crop_pct: Annotated[float, Field(gt=0, le=1)]
    train: TrainShardParams = TrainShardParams()
