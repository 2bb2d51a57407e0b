"""The evaluation of one row of the table: all its seeds, and its network's cost."""

import csv
import io
import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from t2t.errors import DataError
from t2t.evaluation.classes import class_report
from t2t.evaluation.complexity import Complexity, complexity
from t2t.evaluation.extra_sets import ExtraAnswers, extra_summary, open_extra_sets
from t2t.evaluation.intervals import top1_summary
from t2t.evaluation.predict import predict
from t2t.evaluation.predictions import Predictions, write_predictions
from t2t.files import sealed, sha256_text, write_json, write_text
from t2t.training.config import network_of, sha256_asked_of
from t2t.training.curves import curves_csv
from t2t.training.devices import FIRST_PLACE
from t2t.training.finished import finished_runs
from t2t.training.inputs import validation_loader
from t2t.training.validate import Score, validate

CSV_FIELDS = (
    "seed",
    "top1_pct",
    "top5_pct",
    "top1_raw_pct",
    "top5_raw_pct",
    "loss",
    "digest",
)


@dataclass(frozen=True)
class RowEvaluation:
    """Scores per seed, of the averaged weights (`ema`) and the last ones (`raw`).

    `predictions` are of the averaged weights, `extra` what they get on further sets; `classes` are
    names in label order.
    `curves_sha256` is that of the learning curves which the same runs give (`curves_csv`),
    `asked_sha256` that of what was asked of the row when they were trained.
    """

    configs: tuple[Mapping[str, Any], ...]
    ema: tuple[Score, ...]
    raw: tuple[Score, ...]
    cost: Complexity
    curves_sha256: str
    predictions: tuple[Predictions, ...]
    extra: tuple[ExtraAnswers, ...]
    classes: tuple[str, ...]
    asked_sha256: str

    def metrics_per_seed(self) -> list[dict[str, float]]:
        """One flat set of figures per seed, the network's cost among them."""
        return [
            {
                "top1_pct": ema.top1_pct,
                "top5_pct": ema.top5_pct,
                "top1_raw_pct": raw.top1_pct,
                "top5_raw_pct": raw.top5_pct,
                "loss": ema.loss,
                **{
                    f"{name}_top1_pct": 100 * float(answer.correct.mean())
                    for name, answer in extra.items()
                },
                **self._cost(),
            }
            for ema, raw, extra in zip(self.ema, self.raw, self.extra, strict=True)
        ]

    def summary(self) -> dict[str, Any]:
        """The row's figures: means over seeds, with the sample standard deviation of top-1 and its
        95 % interval, over seeds or, of one seed, over images."""
        top1 = [score.top1_pct for score in self.ema]
        first = self.configs[0]
        return {
            "row": first["row"],
            "scale": first["scale"],
            "seeds": len(self.configs),
            **top1_summary([each.correct for each in self.predictions]),
            "top1_pct": statistics.fmean(top1),
            "top1_std_pct": statistics.stdev(top1) if len(top1) > 1 else None,
            "top5_pct": statistics.fmean(score.top5_pct for score in self.ema),
            "top1_raw_pct": statistics.fmean(score.top1_pct for score in self.raw),
            "loss": statistics.fmean(score.loss for score in self.ema),
            **self._cost(),
            "image_size": first["image_size"],
            "num_classes": first["num_classes"],
            "val_images": self.ema[0].images,
            "extra_sets": extra_summary(self.extra),
            **({"released": first["released"]} if "released" in first else {}),
        }

    def _cost(self) -> dict[str, float]:
        return {
            "params_m": self.cost.params / 1e6,
            "params_trainable_m": self.cost.params_trainable / 1e6,
            "macs_g": self.cost.macs / 1e9,
        }


def evaluate_row(runs: Path, shards: Path, extra_sets: Path | None = None) -> RowEvaluation:
    """Scores every `seed_*` run in the folder `runs` on its validation shard in `shards`, and on
    the further sets that the file `extra_sets` lists.

    Raises DataError where there is no run, or where a run was trained on other shards or is not of
    the row; CheckpointError where a run's files are not what training wrote.
    """
    finished = finished_runs(runs)
    configs = [run.config for run in finished]
    loader = validation_loader(shards, configs[0]["val_shard"])
    further = open_extra_sets(extra_sets, configs[0]["val_shard"], loader.classes)
    device = FIRST_PLACE.device()
    ema, raw, predictions, answers = [], [], [], []
    for folder, config in finished:
        if config["shards"]["val"] != loader.manifest.sha256:
            raise DataError(
                f"{folder}: trained beside another validation shard than {shards} holds"
            )
        torch.set_num_threads(config["cpu_threads"])
        model = network_of(config).to(device)
        statistics_ = tuple(config["channel_mean"]), tuple(config["channel_std"])
        model.load_state_dict(load_file(folder / "raw.safetensors"))
        name = f"{config['row']}-seed{config['seed']}"
        raw.append(validate(model, loader, device, *statistics_, label=f"{name}, raw"))
        model.load_state_dict(load_file(folder / "ema.safetensors"))
        score, predicted = predict(model, loader, device, *statistics_, label=name)
        ema.append(score)
        predictions.append(predicted)
        answers.append(further.answers(model, predicted, device, *statistics_))
    cost = complexity(network_of(configs[0]), configs[0]["image_size"])
    curves = curves_csv({run.config["seed"]: run.folder for run in finished})
    return RowEvaluation(
        configs=tuple(configs),
        ema=tuple(ema),
        raw=tuple(raw),
        cost=cost,
        curves_sha256=sha256_text(curves),
        predictions=tuple(predictions),
        extra=tuple(answers),
        classes=loader.classes,
        asked_sha256=sha256_asked_of(configs),
    )


def write_evaluation(
    evaluation: RowEvaluation, metrics: Path, seeds: Path, facts: Mapping[str, Any] | None = None
) -> None:
    """Writes the summary (JSON), `facts` in it, and a table with a line per seed (CSV).

    The summary is sealed and says which table, which learning curves and which configuration
    belong to it, so that a report notices files of another run.
    """
    metrics.parent.mkdir(parents=True, exist_ok=True)
    seeds.parent.mkdir(parents=True, exist_ok=True)
    table = _seeds_csv(evaluation)
    write_text(seeds, table)
    companions = {
        "evaluations_sha256": sha256_text(table),
        "curves_sha256": evaluation.curves_sha256,
        "asked_sha256": evaluation.asked_sha256,
    }
    write_json(metrics, sealed(evaluation.summary() | dict(facts or {}) | companions))


def _seeds_csv(evaluation: RowEvaluation) -> str:
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(CSV_FIELDS)
    for config, figures in zip(evaluation.configs, evaluation.metrics_per_seed(), strict=True):
        line = {**figures, "seed": config["seed"], "digest": config["digest"]}
        writer.writerow([line[field] for field in CSV_FIELDS])
    return stream.getvalue()


def write_answers(evaluation: RowEvaluation, predictions: Path, classes: Path) -> None:
    """Writes what each image got, `seed_<k>.parquet` in the folder `predictions` and those of
    further image sets in folders of it, and the accuracy by class (JSON, over all seeds)."""
    for config, own, extra in zip(
        evaluation.configs, evaluation.predictions, evaluation.extra, strict=True
    ):
        name = f"seed_{config['seed']}.parquet"
        write_predictions(own, predictions / name)
        for set_name, answer in extra.items():
            if answer.predictions is not None:
                write_predictions(answer.predictions, predictions / set_name / name)
    classes.parent.mkdir(parents=True, exist_ok=True)
    write_json(classes, class_report(evaluation.predictions, evaluation.classes))
