"""How fast a row trains: measured in earlier runs, given, or scaled from another row's speed."""

import json
import math
import statistics
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from t2t.errors import DataError
from t2t.training.journal import read_journal
from t2t.training.record import JOURNAL, RUN_RECORD

MEASURED, GIVEN = "measured", "given"


@dataclass(frozen=True)
class Speed:
    """Training images per second of one run; `source` is MEASURED, GIVEN or the row whose speed
    it was scaled from."""

    images_per_s: float
    source: str

    @property
    def is_scaled(self) -> bool:
        """Whether it was worked out from another row's."""
        return self.source not in (MEASURED, GIVEN)


def measured_speeds(
    checkpoints: Path, networks: Mapping[str, Mapping[str, Any]]
) -> dict[str, float]:
    """Images per second by row, from the journals of earlier runs of the same network.

    networks: for each row what a run record must say of it: variant, image_size and so on. Of each
    seed the newest run counts, with the median over its epochs but the first (which compiles and
    fills caches), and of the seeds the median. Runs count whatever device their journals name.
    """
    newest: dict[tuple[str, int], tuple[int, float]] = {}
    for params, started, speed in _runs(checkpoints):
        row, seed = params.get("row"), params.get("seed")
        wanted = networks.get(row)
        if wanted is None or any(params.get(key) != value for key, value in wanted.items()):
            continue
        newest[row, seed] = max(newest.get((row, seed), (0, 0.0)), (started, speed))
    return {
        row: statistics.median(speed for (name, _), (_, speed) in newest.items() if name == row)
        for row in {row for row, _ in newest}
    }


def _runs(checkpoints: Path) -> Iterator[tuple[dict[str, Any], int, float]]:
    """Parameters, start in milliseconds and images per second of every run that has an epoch."""
    for record in sorted(checkpoints.glob(f"*/{RUN_RECORD}")):
        try:
            known = json.loads(record.read_text())
            speeds = [
                event["timing"]["images_per_s"]
                for event in read_journal(record.with_name(JOURNAL))
                if event["kind"] == "epoch"
            ]
            if speeds:
                yield known["params"], known["start_ms"], statistics.median(speeds[1:] or speeds)
        except (DataError, OSError, ValueError, KeyError, TypeError):
            continue  # a damaged record is no measurement, and no reason not to plan


def scaled(speeds: Mapping[str, Speed], macs: Mapping[str, float]) -> dict[str, Speed]:
    """A speed for every row of `macs`, where there is any: its own, else another's by MACs.

    The other row is the nearest in MACs. Networks of one kind scale so within some tens of per
    cent; a convolutional network has more memory traffic for each MAC than a transformer.
    """
    found = {}
    for row, cost in macs.items() if speeds else ():
        nearest = min(speeds, key=lambda name: (abs(math.log(macs[name] / cost)), name))
        other = speeds[nearest]
        by_macs = Speed(other.images_per_s * macs[nearest] / cost, nearest)
        found[row] = speeds.get(row, by_macs)
    return found
