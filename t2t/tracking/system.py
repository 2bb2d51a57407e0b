"""The machine's load while a run is under way, sampled by MLflow's own monitors."""

import contextlib
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from t2t.tracking.delivery import SYSTEM_JOURNAL
from t2t.training.journal import Journal, read_journal

SYSTEM_SAMPLE_S = 5.0


class SystemSampler:
    """Writes the machine's load into the journals of the runs that are under way."""

    def __init__(self) -> None:
        from mlflow.system_metrics.metrics.cpu_monitor import CPUMonitor
        from mlflow.system_metrics.metrics.gpu_monitor import GPUMonitor

        self._monitors: list[Any] = [CPUMonitor()]
        with contextlib.suppress(Exception):  # no NVIDIA library, no GPU
            self._monitors.append(GPUMonitor())
        self._due = 0.0
        self._runs: dict[Path, _Samples] = {}

    def sample(self, folders: list[Path]) -> None:
        """Appends one sample to each unfinished run of `folders`, every SYSTEM_SAMPLE_S at most."""
        if time.monotonic() < self._due:
            return
        self._due = time.monotonic() + SYSTEM_SAMPLE_S
        metrics = {}
        for monitor in self._monitors:
            monitor.collect_metrics()
            metrics |= {
                f"system/{key}": value for key, value in monitor.aggregate_metrics().items()
            }
            monitor.clear_metrics()
        self._runs = {folder: self._runs.get(folder) or _Samples(folder) for folder in folders}
        for samples in self._runs.values():
            samples.append(metrics)


class _Samples:
    """The samples of the run in `folder`. To read them all takes longer the longer a run lasts, so
    that is done at first, and then only where someone else has written there too."""

    def __init__(self, folder: Path):
        self._path = folder / SYSTEM_JOURNAL
        self._read()

    def append(self, metrics: Mapping[str, float]) -> None:
        if self._bytes() != self._left_bytes:
            self._read()
        self._journal.append("system", self._count, metrics=metrics)
        self._journal.text = ""  # kept for checkpoints alone
        self._count += 1
        self._left_bytes = self._bytes()

    def _read(self) -> None:
        self._journal = Journal(self._path)
        self._journal.text = ""
        self._count = sum(1 for _ in read_journal(self._path))
        self._left_bytes = self._bytes()

    def _bytes(self) -> int:
        return self._path.stat().st_size if self._path.exists() else 0
