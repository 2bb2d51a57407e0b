"""A plan as plain text."""

import re
import textwrap
from collections import Counter
from collections.abc import Iterator, Sequence

from pipelines.planning.cost import RowCost, Total
from pipelines.planning.report import Plan
from pipelines.planning.staleness import PlannedStage, Verdict

# Causes that most stages share come first, and beyond these they are only counted.
CAUSES_SHOWN = 12
NOTE_WIDTH = 100
_GIB = 2**30


def as_text(plan: Plan) -> str:
    """The plan for a terminal: data, stages and causes, a line for each row, totals."""
    notes = (textwrap.fill(note, NOTE_WIDTH) for note in _notes(plan))
    blocks = [_head(plan), _stages(plan), _table(plan), _totals(plan), notes]
    return "\n\n".join("\n".join(lines) for lines in map(list, blocks) if lines)


def _head(plan: Plan) -> Iterator[str]:
    seeds = ", ".join(map(str, plan.seeds))
    yield f"Scale {plan.scale}: {_count(len(plan.costs), 'row')}, seeds {seeds}"
    if plan.data is None:
        yield f"Images: unknown until prepared ({plan.source})"
        return
    data = plan.data
    yield (
        f"Images: {data.train_images:,} to train, {data.val_images:,} to validate, "
        f"{data.num_classes:,} classes, {plan.image_size} px (from {data.known_from})"
    )


def _stages(plan: Plan) -> Iterator[str]:
    if not plan.stages:
        yield "Stages: all are taken to run, for DVC knows those of params.yaml's own scale alone"
        return
    counts = ", ".join(f"{count} {verdict}" for verdict, count in plan.verdicts().items())
    once = [f"{stage.name}: {stage.verdict}" for stage in plan.stages.values() if not stage.row]
    yield f"Stages: {counts} ({', '.join(once)})"
    causes = _causes(list(plan.stages.values()))
    if causes:
        yield "Why, and for how many stages:"
        yield from (f"{count:6} {cause}" for cause, count in causes[:CAUSES_SHOWN])
    if len(causes) > CAUSES_SHOWN:
        yield f"       and {len(causes) - CAUSES_SHOWN} causes more: --json has every stage's"


def _causes(stages: Sequence[PlannedStage]) -> list[tuple[str, int]]:
    """Every cause with the number of its stages; where it names the stage's own row, it says <row>
    instead, so that the causes of rows are equal."""
    counts: Counter[str] = Counter()
    for stage in stages:
        own = re.compile(rf"(?<![\w-]){re.escape(stage.row)}(?![\w-])")
        counts.update(own.sub("<row>", cause) if stage.row else cause for cause in stage.causes)
    return counts.most_common()


def _table(plan: Plan) -> list[str]:
    lines = [_cells(plan, cost) for cost in plan.costs]
    shown = [title for title in lines[0] if any(line[title] for line in lines)]
    left = {"row", "train", "evaluate", "speed from"}
    table = [shown, *([line[title] for title in shown] for line in lines)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) if title in left else cell.rjust(width)
            for title, cell, width in zip(shown, line, widths, strict=True)
        ).rstrip()
        for line in table
    ]


def _cells(plan: Plan, cost: RowCost) -> dict[str, str]:
    """A row's cells by their columns' titles; hours of rows that need no training are left out."""
    row, speed = cost.row, cost.speed
    due = cost.is_possible
    return {
        "row": row.name,
        "train": cost.train or "",
        "evaluate": cost.evaluate or "",
        "MACs, G": _figure(row.macs / 1e9),
        "runs": str(row.runs),
        "steps/run": "" if row.steps is None else f"{row.steps:,}",
        "images, M": "" if row.images is None else _figure(row.runs * row.images / 1e6),
        "images/s": "" if speed is None else _figure(speed.images_per_s),
        "speed from": "" if speed is None else speed.source,
        "h/run": _figure(cost.run_h) if due else "",
        "device-h": _figure(cost.device_h) if due else "",
        "price": _figure(plan.price(cost.device_h)) if due else "",
        "GiB": "" if cost.memory is None else _figure(cost.memory.peak / _GIB),
    }


def _totals(plan: Plan) -> Iterator[str]:
    certain, possible = plan.certain, plan.possible
    yield f"To train: {_sums(plan, certain)}"
    if possible.rows > certain.rows:
        yield f"At most:  {_sums(plan, possible)}"
    if not possible.rows or possible.device_h is None:
        return
    yield (
        f"On {_devices(plan)}: {_figure(possible.elapsed_h)} h, one row after the other, the seeds "
        "of each side by side"
    )
    if plan.fleet.devices > 1:
        least = possible.device_h / plan.fleet.devices
        yield f"If no device ever waits: {_figure(least)} h"


def _sums(plan: Plan, sums: Total) -> str:
    if not sums.rows:
        return "nothing for certain" if plan.possible.rows else "nothing"
    parts = [_count(sums.rows, "row"), _count(sums.runs, "run")]
    if sums.steps is not None and sums.images is not None:
        parts += [f"{sums.steps:,} steps", f"{_figure(sums.images / 1e6)} M images"]
    if sums.device_h is not None:
        parts.append(f"{_figure(sums.device_h)} device-hours")
    price = plan.price(sums.device_h)
    if price is not None:
        parts.append(f"{price:,.2f} at {plan.price_per_h:g} each")
    return ", ".join(parts)


def _devices(plan: Plan) -> str:
    if plan.fleet.is_gpu:
        return _count(plan.fleet.devices, "device")
    return f"{_count(plan.fleet.devices, 'computer')} like this one, without a GPU"


def _notes(plan: Plan) -> Iterator[str]:
    if Verdict.MAY_RUN in plan.verdicts():
        yield "May run: if a stage above gives it other bytes than before, which nobody can tell."
    if any(cost.run_h is not None for cost in plan.costs):
        yield (
            "Hours: training, and validation at a third of its cost an image; not prepare, shard, "
            "evaluate and report, nor what a resumed run has done already."
        )
    elif plan.data is None:
        yield "Steps and hours: known as soon as `dvc repro shard` has counted the images."
    else:
        yield (
            "Hours: unknown, for no run of this scale was measured here. --images-per-s N gives "
            "the training speed of --reference-row on one device; the others are scaled by MACs."
        )
    if any(cost.speed is not None and cost.speed.is_scaled for cost in plan.costs):
        yield (
            "Speeds from another row are scaled by MACs: a rough guide, and too good for networks "
            "that move much data for each MAC, as MobileNets and DenseNets do."
        )
    if plan.costs[0].memory is not None:
        number = "bfloat16 under autocast" if plan.fleet.is_gpu else "float32"
        most = max(cost.images_at_once for cost in plan.costs)
        yield (
            f"GiB: the most a training step has alive on a device, {most} images at once in "
            f"{number}, not compiled; context, workspaces and fragmentation come on top."
        )


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _figure(value: float | None) -> str:
    """Three digits, or all before the point; empty for None."""
    if value is None:
        return ""
    return f"{value:,.0f}" if value >= 100 else f"{value:#.3g}"
