"""A row's result files, read strictly: a damaged or alien file stops the report."""

import csv
import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from t2t.errors import DataError
from t2t.files import SEAL, is_sealed, sha256_file
from t2t.reporting.compare import Estimate

# Evaluation may round what it writes; a larger difference means that two files disagree.
_ROUNDING_PCT = 0.01

Percent = Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)]
Loss = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Size = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]
_Absent = BeforeValidator(lambda text: None if text == "" else text)


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True)


class Top1(_Record):
    """A mean over seeds, in percent, with its 95% interval and what that is over."""

    model_config = ConfigDict(frozen=True, strict=True)

    top1_pct: Percent
    top1_low_pct: Percent
    top1_high_pct: Percent
    interval_over: Literal["seeds", "images"]


class ExtraTop1(Top1):
    """Top-1 on a further set, such as ImageNet-ReaL, of so many images."""

    images: Count


class Published(_Record):
    """The file that a row's weights were published in, and what others have measured of it."""

    model_config = ConfigDict(frozen=True, strict=True)

    file: str
    sha256: str
    expected_top1_pct: Percent | None


class NetworkMetrics(Top1):
    """What is known of every network that was scored: means over its seeds, in percent; millions
    of parameters."""

    scale: str
    seeds: Count
    top1_std_pct: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None
    top5_pct: Percent
    loss: Loss
    params_m: Size
    num_classes: Count
    val_images: Count

    @property
    def top1(self) -> Estimate:
        """Top-1 with its interval."""
        ends = self.top1_low_pct, self.top1_high_pct
        return Estimate(self.top1_pct, *ends, self.seeds, self.interval_over)


class RowMetrics(NetworkMetrics):
    """The figures of one row; MACs in billions. `released` is null where it was trained here,
    `asked_sha256` in a file that is older than that key."""

    row: str
    top1_raw_pct: Percent
    params_trainable_m: Size
    macs_g: Size
    image_size: Count
    evaluations_sha256: str
    curves_sha256: str
    extra_sets: Mapping[str, ExtraTop1]
    released: Published | None = None
    asked_sha256: str | None = None


class SeedResult(_Record):
    """One seed's accuracy, with the EMA weights and without (`raw`), and its run's digest."""

    seed: int
    top1_pct: Percent
    top5_pct: Percent
    top1_raw_pct: Percent
    top5_raw_pct: Percent
    loss: Loss
    digest: Annotated[str, Field(min_length=1)]


class CurvePoint(_Record):
    """One epoch of one seed; the `val_` fields are absent where it was not validated."""

    seed: int
    epoch: Annotated[int, Field(ge=0)]
    step: Annotated[int, Field(ge=0)]
    lr: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    train_loss: Loss
    val_loss: Annotated[Loss | None, _Absent]
    val_top1_pct: Annotated[Percent | None, _Absent]
    val_top1_raw_pct: Annotated[Percent | None, _Absent]


RecordT = TypeVar("RecordT", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class RowResult:
    """All that was measured for one row."""

    metrics: RowMetrics
    seeds: tuple[SeedResult, ...]
    curve: tuple[CurvePoint, ...]


def read_result(
    metrics_file: Path, evaluations_file: Path, curves_file: Path | None, *, row: str, scale: str
) -> RowResult:
    """Read one row's three files, two if it was not trained here, and hold them against each other.

    Raises DataError, naming file and key, where one is missing, damaged, of another row, scale or
    run, or contradicts another.
    """
    metrics = validated(RowMetrics, read_json(metrics_file), str(metrics_file))
    for key, found, expected in (("row", metrics.row, row), ("scale", metrics.scale, scale)):
        if found != expected:
            raise DataError(f"{metrics_file}: {key}: is {found!r}, expected {expected!r}")
    if metrics.params_trainable_m > metrics.params_m:
        raise DataError(
            f"{metrics_file}: params_trainable_m: {metrics.params_trainable_m} is more than "
            f"params_m {metrics.params_m}"
        )
    seeds = read_table(evaluations_file, SeedResult)
    means = {key: getattr(metrics, key) for key in ("top1_pct", "top5_pct", "top1_raw_pct")}
    check_summary(metrics_file, metrics.seeds, means, seeds, evaluations_file)
    top1 = [seed.top1_pct for seed in seeds]
    spread = statistics.stdev(top1) if len(top1) > 1 else 0.0
    _check_close(
        metrics_file, "top1_std_pct", metrics.top1_std_pct or 0.0, spread, evaluations_file
    )
    check_seal(metrics_file)
    check_companion(metrics_file, evaluations_file, metrics.evaluations_sha256)
    curve: tuple[CurvePoint, ...] = ()
    if curves_file is not None:
        curve = read_table(curves_file, CurvePoint)
        _unique(curves_file, "seed, epoch", [(point.seed, point.epoch) for point in curve])
        check_companion(metrics_file, curves_file, metrics.curves_sha256)
    return RowResult(metrics, seeds, curve)


def read_json(path: Path) -> dict[str, Any]:
    """The mapping in a JSON file. Raises DataError where it holds none."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise DataError(f"{path}: not JSON: {error}") from error
    if not isinstance(content, dict):
        raise DataError(f"{path}: holds no mapping")
    return content


def check_seal(path: Path) -> None:
    """Raises DataError where a figure in the JSON file `path` is not the one that was sealed."""
    if not is_sealed(read_json(path)):
        raise DataError(
            f"{path}: {SEAL}: is not that of its figures, one was changed; run its stage again"
        )


def check_companion(metrics_file: Path, path: Path, sha256: str | None) -> None:
    """Raises DataError where `path` is missing or not the file that `metrics_file` goes with."""
    if not path.is_file() or sha256_file(path) != sha256:
        raise DataError(
            f"{path}: not the file that {metrics_file} was written beside: it is missing, or one "
            "of the two is an older run's or was changed; run its stage again"
        )


def read_table(path: Path, record: type[RecordT]) -> tuple[RecordT, ...]:
    """The lines of a CSV file. Raises DataError where it is missing, damaged or empty."""
    if not path.is_file():
        raise DataError(f"{path}: missing, though this row has metrics; run its stages again")
    try:
        with path.open(encoding="utf-8", newline="") as file:
            lines = list(csv.DictReader(file, strict=True))
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: not CSV: {error}") from error
    if not lines:
        raise DataError(f"{path}: holds no line, expected at least one under the header")
    return tuple(
        validated(record, line, f"{path}: line {number}") for number, line in enumerate(lines, 2)
    )


def validated(record: type[RecordT], content: object, place: str) -> RecordT:
    """`content` as a record. Raises DataError with `place` and the key that is wrong."""
    try:
        return record.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        key = str(first["loc"][0]) if first["loc"] else "content"
        given = "" if first["type"] == "missing" else f", is {first['input']!r:.60}"
        raise DataError(f"{place}: {key}: {first['msg']}{given}") from error


def _unique(path: Path, key: str, values: Sequence[object]) -> None:
    seen = set()
    for value in values:
        if value in seen:
            raise DataError(f"{path}: {key}: {value} stands there twice")
        seen.add(value)


def check_summary(
    path: Path,
    seed_count: int,
    means: Mapping[str, float],
    seeds: Sequence[SeedResult],
    seeds_path: Path,
) -> None:
    """Holds a summary's count and means against its seeds. Raises DataError where they differ."""
    _unique(seeds_path, "seed", [seed.seed for seed in seeds])
    if seed_count != len(seeds):
        raise DataError(f"{path}: seeds: is {seed_count}, but {seeds_path} has {len(seeds)} seeds")
    for key, found in means.items():
        _check_close(path, key, found, statistics.fmean(getattr(x, key) for x in seeds), seeds_path)


def _check_close(path: Path, key: str, found: float, expected: float, seeds_path: Path) -> None:
    if abs(found - expected) > _ROUNDING_PCT:
        raise DataError(f"{path}: {key}: is {found}, but {seeds_path} gives {expected:.4f}")
