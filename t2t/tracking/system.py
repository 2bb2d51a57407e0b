"""The machine's load while a run is under way, sampled by MLflow's own monitors."""

import contextlib
import time
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
        for folder in folders:
            path = folder / SYSTEM_JOURNAL
            Journal(path).append("system", sum(1 for _ in read_journal(path)), metrics=metrics)
