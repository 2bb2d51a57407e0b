"""Transfers as reported: a row's network trained on, on another data set."""

from dataclasses import dataclass

from t2t.reporting.compare import Estimate, mean_of
from t2t.reporting.infos import TransferInfo
from t2t.reporting.measurements import TransferResult


@dataclass(frozen=True, slots=True)
class TransferRow:
    """One transfer; `result` is null where it was not run."""

    id: str
    info: TransferInfo
    result: TransferResult | None

    @property
    def command(self) -> str:
        """The command that produces this transfer's results."""
        return f"dvc repro transfer@{self.id}"

    @property
    def interval(self) -> Estimate | None:
        """Top-1 in % with its interval; null where it was not run."""
        if self.result is None:
            return None
        metrics = self.result.metrics
        if metrics.top1_low_pct is None or metrics.top1_high_pct is None:
            return mean_of([seed.top1_pct for seed in self.result.seeds])
        return Estimate(
            metrics.top1_pct,
            metrics.top1_low_pct,
            metrics.top1_high_pct,
            metrics.seeds,
            metrics.interval_over or "seeds",
        )

    def printed_delta_pct(self, baseline: str) -> float | None:
        """Null: Table 5 prints no differences."""
        return None
