"""Transfers as reported: a row's network trained on, on another data set."""

from dataclasses import dataclass

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

    def printed_delta_pct(self, baseline: str) -> float | None:
        """Null: Table 5 prints no differences."""
        return None
