"""Made-up results in the real formats: the rows of Table 7 and a table of any size."""

import csv
import math
import random
import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from t2t.files import SEAL, sealed, sha256_file, write_json
from t2t.reporting.collect import Report, collect
from t2t.reporting.infos import PaperFigures, RowInfo, ScaleInfo

DIGITS = ScaleInfo("digits", "1,797 grey digits of 8 x 8 pixels, shrunken networks", False)
NOT_RUN = "vit_small"


@dataclass(frozen=True)
class Results:
    """Where the made-up results of some rows lie."""

    rows: dict[str, RowInfo]
    folder: Path

    @property
    def metrics_dir(self) -> Path:
        return self.folder / "metrics"

    @property
    def evaluations_dir(self) -> Path:
        return self.folder / "evaluations"

    @property
    def curves_dir(self) -> Path:
        return self.folder / "curves"

    def collect(self, rows: dict[str, RowInfo] | None = None, **more) -> Report:
        return collect(self.rows if rows is None else rows, DIGITS, self.folder, **more)


def table_7() -> dict[str, RowInfo]:
    """Six rows of the paper, its figures as printed."""
    module, deep = ("7", "T2T module"), ("7", "deep-narrow")
    base = "t2t_vit_14_wo_t2t"
    return {
        base: RowInfo("T2T-ViT-14 wo T2T", PaperFigures(*module, 79.5, 21.1, 4.2)),
        "t2t_vit_14": RowInfo("T2T-ViT-14", PaperFigures(*module, 81.5, 21.5, 4.8, 2.0), base),
        "t2t_vit_t_14": RowInfo("T2T-ViT_t-14", PaperFigures(*module, 81.7, 21.5, 6.1, 2.2), base),
        "t2t_vit_c_14": RowInfo("T2T-ViT_c-14", PaperFigures(*module, 80.8, 21.3, 4.6, 1.3), base),
        "t2t_vit_14_wide": RowInfo(
            "T2T-ViT-d768-4",
            PaperFigures(*deep, 78.8, 25.0, 5.4, -2.7, "the same network is 77.9 in Table 6"),
            "t2t_vit_14",
        ),
        NOT_RUN: RowInfo("ViT-S/16", PaperFigures("2", "", 78.1, 48.6, 10.1)),
    }


def many_rows(count: int) -> dict[str, RowInfo]:
    """`count` rows in blocks of eight, each but the first of a block with a baseline."""
    rows = {}
    for number in range(count):
        block, place = divmod(number, 8)
        row_id = f"t2t_vit_{block}_{place}"
        paper = PaperFigures(
            str(block + 2),
            "CNN to T2T-ViT" if block % 2 else "structures",
            round(70 + 13 * math.sin(number) ** 2, 1),
            round(4 + 2.3 * number, 1),
            round(1 + 0.5 * (number % 17), 1),
            None if place == 0 else round(3 * math.sin(number), 1),
        )
        rows[row_id] = RowInfo(
            f"T2T-ViT-{number} SE-{place}", paper, f"t2t_vit_{block}_0" if place else None
        )
    return rows


def write_results(
    folder: Path, rows: dict[str, RowInfo], *, seeds: int = 3, epochs: int = 20
) -> Results:
    """Write results of every row but `vit_small` under `folder`, the same each time."""
    results = Results(rows, folder)
    for part in (results.metrics_dir, results.evaluations_dir, results.curves_dir):
        part.mkdir(parents=True)
    for number, row in enumerate(rows):
        if row != NOT_RUN:
            _write_row(results, row, number, seeds, epochs)
    return results


def _write_row(results: Results, row: str, number: int, seeds: int, epochs: int) -> None:
    draw = random.Random(row)
    curve, evaluations = [], []
    for seed in range(seeds):
        final = 88 + 8 * math.sin(number) ** 2 + draw.gauss(0, 0.5)
        for epoch in range(epochs):
            done = 1 - math.exp(-5 * (epoch + 1) / epochs)
            loss = round(2.3 - 2 * done + draw.uniform(0, 0.05), 5)
            top1 = round(final * done, 4)
            train = round(loss + 0.3, 5)
            curve.append([seed, epoch, epoch * 40, 1e-3, train, loss, top1, top1 - 0.2 * done])
        top1 = round(final, 4)
        digest = draw.randbytes(8).hex()
        evaluations.append([seed, top1, 99.5, round(top1 - 0.2, 4), 99.25, loss, digest])
    names = "seed,top1_pct,top5_pct,top1_raw_pct,top5_raw_pct,loss,digest"
    write_csv(results.evaluations_dir / f"{row}.csv", names, evaluations)
    names = "seed,epoch,step,lr,train_loss,val_loss,val_top1_pct,val_top1_raw_pct"
    write_csv(results.curves_dir / f"{row}.csv", names, curve)
    top1s = [line[1] for line in evaluations]
    metrics = {
        "row": row,
        "scale": DIGITS.name,
        "seeds": seeds,
        "top1_pct": statistics.fmean(top1s),
        "top1_std_pct": statistics.stdev(top1s) if seeds > 1 else None,
        "top1_low_pct": statistics.fmean(top1s) - 2,
        "top1_high_pct": min(100.0, statistics.fmean(top1s) + 2),
        "interval_over": "seeds" if seeds > 1 else "images",
        "top5_pct": 99.5,
        "top1_raw_pct": statistics.fmean(line[3] for line in evaluations),
        "loss": evaluations[-1][5],
        "params_m": round(0.05 + 0.011 * number, 4),
        "params_trainable_m": round(0.049 + 0.011 * number, 4),
        "macs_g": round(0.0021 + 0.0007 * (number % 7), 5),
        "image_size": 32,
        "num_classes": 10,
        "val_images": 360,
        "extra_sets": {},
    }
    write_metrics(results, row, metrics)


def write_metrics(results: Results, row: str, metrics: Mapping[str, Any]) -> None:
    """Write a row's metrics, sealed with its two tables as they are."""
    tables = (folder / f"{row}.csv" for folder in (results.evaluations_dir, results.curves_dir))
    write_sealed(results.metrics_dir / f"{row}.json", metrics, *tables)


def write_sealed(path: Path, metrics: Mapping[str, Any], evaluations: Path, curves: Path) -> None:
    """Write `metrics` at `path`, sealed with the two tables as they are."""
    companions = {
        "evaluations_sha256": sha256_file(evaluations),
        "curves_sha256": sha256_file(curves),
    }
    content = {key: value for key, value in metrics.items() if key != SEAL}
    write_json(path, sealed(content | companions))


def write_csv(path: Path, names: str, lines: list[list]) -> None:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([names.split(","), *lines])
