"""What is measured beside a row's accuracy, read strictly: differences, costs, transfers, heads.

Each lies in a file or folder of its own below the scale's reports. An absent one counts as not run.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from t2t.errors import DataError
from t2t.files import SEAL
from t2t.reporting.records import (
    Count,
    NetworkMetrics,
    Percent,
    SeedResult,
    Size,
    check_companion,
    check_seal,
    check_summary,
    read_json,
    read_table,
    validated,
)

Points = Annotated[float, Field(ge=-100, le=100, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=-1.001, le=1.001, allow_inf_nan=False)]
Number = Annotated[float, Field(allow_inf_nan=False)]


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True)


class Difference(_Record):
    """A row's top-1 minus its baseline's, over the same seeds and images, in points."""

    baseline: str
    seeds: Count
    delta_pct: Points
    low_pct: Points | None
    high_pct: Points | None
    over: Literal["seeds", "images", "seeds and images"]


class RowCost(_Record):
    """What a row's network costs on one device; peaks in MiB, a pass over one image in ms."""

    params_m: Size
    macs_g: Size
    train_peak_mib: Size | None
    infer_peak_mib: Size | None
    latency_ms: Size
    images_per_s: Size
    batch_size: Count


class Costs(_Record):
    """The costs of all rows, measured in one run on one device."""

    device: str
    torch: str
    date: str
    rows: Mapping[str, RowCost]


class TransferMetrics(NetworkMetrics):
    """The figures of one transfer."""

    transfer: str
    needs: str
    set: str
    recipe: str
    top1_raw_pct: Percent | None
    train_images: Count
    evaluations_sha256: str
    curves_sha256: str


class TransferResult(_Record):
    """A transfer's summary and its seeds."""

    metrics: TransferMetrics
    seeds: tuple[SeedResult, ...]


class LayerHeads(_Record):
    """The heads of one layer: how alike they are, and what each is worth.

    `similarity` is heads x heads, the cosine of attention maps, `head_similarity` each head's mean
    over the others; `drop_pct` the points of top-1 lost, `loss_rise` the rise of the loss, when
    that head alone is removed.
    """

    layer: Annotated[int, Field(ge=0)]
    heads: Count
    similarity: list[list[Share]]
    head_similarity: list[Share]
    drop_pct: list[Points]
    loss_rise: list[Number]
    dead_channels_pct: Percent
    saturated_channels_pct: Percent


class SeedHeads(_Record):
    """The heads of one seed's network."""

    seed: int
    base_top1_pct: Percent
    layers: Annotated[list[LayerHeads], Field(min_length=1)]


class Correlation(_Record):
    """Spearman's rho with its 95% interval, over the heads of all seeds."""

    rho: Share | None
    low: Share | None
    high: Share | None


class Correlations(_Record):
    """The correlation over all heads, and over the heads of one layer against one another."""

    all: Correlation
    within_layers: Correlation


class RankCorrelation(_Record):
    """Of likeness and worth, worth by top-1 or by loss."""

    drop_pct: Correlations
    loss_rise: Correlations


class AllSeeds(_Record):
    """All heads of all seeds together."""

    heads: Count
    mean_similarity: Share
    mean_drop_pct: Points
    mean_loss_rise: Number
    rank_correlation: RankCorrelation


class Redundancy(SeedHeads):
    """The heads of one row's networks, over a fixed sample of images; of each file beside it, the
    SHA-256."""

    row: str
    files: Mapping[str, str]
    images: Count
    removal_images: Count
    other_seeds: list[SeedHeads]
    all_seeds: AllSeeds

    @property
    def networks(self) -> tuple[SeedHeads, ...]:
        """The networks of all seeds."""
        return self, *self.other_seeds


class Image(_Record):
    """A small picture beside its folder's `images.json`; `alt` says what is on it."""

    file: Annotated[str, Field(pattern=r"^[a-z0-9_-]+\.png$")]
    title: str
    alt: str


class Analysis(_Record):
    """What was seen inside one row's network; `pictures` are the images' bytes, in order."""

    redundancy: Redundancy
    images: tuple[Image, ...]
    pictures: tuple[bytes, ...]


def read_differences(path: Path) -> dict[str, Difference]:
    """Each row's difference to its baseline; empty where `path` is absent."""
    if not path.is_file():
        return {}
    found = {
        row: validated(Difference, content, f"{path}: {row}")
        for row, content in read_json(path).items()
        if row != SEAL
    }
    check_seal(path)
    return found


def read_costs(path: Path) -> Costs | None:
    """The costs of the rows; null where `path` is absent."""
    if not path.is_file():
        return None
    costs = validated(Costs, read_json(path), str(path))
    check_seal(path)
    return costs


def read_transfer(folder: Path, transfer: str, scale: str) -> TransferResult | None:
    """`<transfer>.json` in `folder`, held against its seeds and curves; null where absent.

    Raises DataError, naming the file, where one is damaged, another transfer's or another run's.
    """
    path = folder / f"{transfer}.json"
    if not path.is_file():
        return None
    metrics = validated(TransferMetrics, read_json(path), str(path))
    for key, found, expected in (
        ("transfer", metrics.transfer, transfer),
        ("scale", metrics.scale, scale),
    ):
        if found != expected:
            raise DataError(f"{path}: {key}: is {found!r}, expected {expected!r}")
    table = folder / f"{transfer}.csv"
    seeds = read_table(table, SeedResult)
    check_summary(path, metrics.seeds, {"top1_pct": metrics.top1_pct}, seeds, table)
    check_seal(path)
    check_companion(path, table, metrics.evaluations_sha256)
    check_companion(path, folder / "curves" / table.name, metrics.curves_sha256)
    return TransferResult(metrics=metrics, seeds=seeds)


def read_analysis(folder: Path, row: str) -> Analysis | None:
    """`redundancy.json`, `images.json` and the images of one row; null where absent."""
    path = folder / "redundancy.json"
    if not path.is_file():
        return None
    redundancy = validated(Redundancy, read_json(path), str(path))
    if redundancy.row != row:
        raise DataError(f"{path}: row: is {redundancy.row!r}, expected {row!r}")
    for layer in (layer for network in redundancy.networks for layer in network.layers):
        each = layer.drop_pct, layer.loss_rise, layer.head_similarity, layer.similarity
        sizes = {*map(len, each), *map(len, layer.similarity)}
        if sizes != {layer.heads}:
            raise DataError(
                f"{path}: layer {layer.layer}: one entry for each of its {layer.heads} heads is "
                f"needed, lists have {sorted(sizes)}"
            )
    check_seal(path)
    listed = folder / "images.json"
    images = tuple(validated(Image, item, str(listed)) for item in _items(listed))
    for file in (listed, *(folder / image.file for image in images)):
        check_companion(path, file, redundancy.files.get(file.name))
    pictures = tuple((folder / image.file).read_bytes() for image in images)
    return Analysis(redundancy=redundancy, images=images, pictures=pictures)


def _items(path: Path) -> list[object]:
    try:
        items = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None
    except ValueError as error:
        raise DataError(f"{path}: not JSON: {error}") from None
    if not isinstance(items, list):
        raise DataError(f"{path}: missing or no list of pictures; analyse the row again")
    return items
