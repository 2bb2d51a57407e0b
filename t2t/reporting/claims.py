"""Claims about rows, each with a verdict computed from an interval (docs/decisions/013)."""

import csv
import io
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from t2t.errors import ConfigError
from t2t.reporting.cells import Cell, difference_cell, interval_cell, signed
from t2t.reporting.collect import Report, ReportRow
from t2t.reporting.compare import Estimate
from t2t.reporting.infos import ClaimInfo, ClaimKind
from t2t.reporting.transfers import TransferRow

# Two seeds of one network differ by 0.1 to 0.3 points on ImageNet: a printed difference of single
# runs below this is no effect that could be told from noise.
MARGIN_PCT = 0.5

RULE = (
    "Verdicts are computed from the 95% interval of our paired difference. An effect is reproduced "
    "where the interval lies on the claimed side of zero and reaches half of the claimed size, not "
    "reproduced where it ends below that half, and undecided otherwise; a printed difference too "
    f"small to be told from seed noise, and a figure, where it lies within {MARGIN_PCT} points of "
    "the one claimed, wholly outside that, or neither; a direction without a figure, where it lies "
    "above zero, below zero, or neither."
)


class Verdict(Enum):
    """What our results say of a claim; the value is how it is shown."""

    REPRODUCED = "reproduced"
    NOT_REPRODUCED = "not reproduced"
    UNDECIDED = "undecided"
    NOT_RUN = "not run"
    NOTHING_TO_RUN = "no row tests it"

    @property
    def css(self) -> str:
        """The verdict as a class of the page's style."""
        return self.name.lower().replace("_", "-")

    @property
    def is_judgement(self) -> bool:
        """Whether results were held against the claim."""
        return self in (Verdict.REPRODUCED, Verdict.NOT_REPRODUCED, Verdict.UNDECIDED)


@dataclass(frozen=True, slots=True)
class Claim:
    """A claim beside what was measured; figures in points of top-1, or in % for a `figure`.

    `paper_pct` is what the paper's own figures of the rows give, `claimed_pct` what is claimed.
    """

    id: str
    info: ClaimInfo
    claimed_pct: float | None
    paper_pct: float | None
    ours: Estimate | None
    verdict: Verdict
    missing: tuple[str, ...] = ()

    @property
    def why(self) -> str:
        """What keeps an undecided claim open, in a few words."""
        if self.verdict is not Verdict.UNDECIDED or self.ours is None:
            return ""
        return "one seed, no interval" if self.ours.low_pct is None else "the interval is too wide"

    @property
    def claimed_cell(self) -> Cell:
        """The claimed figure, beside it the paper's own where that is another; for a direction,
        that it is one."""
        if self.info.kind == "direction":
            return Cell("above 0")
        if self.claimed_pct is None:
            return Cell()
        aside = ""
        if self.paper_pct is not None and self.paper_pct != self.claimed_pct:
            aside = f"paper: {self._text(self.paper_pct)}"
        return Cell(self._text(self.claimed_pct), self.claimed_pct, aside)

    @property
    def ours_cell(self) -> Cell:
        """What was measured."""
        if self.info.kind == "figure" and self.ours:
            return interval_cell(self.ours)
        return difference_cell(self.ours)

    def _text(self, value: float) -> str:
        return f"{value:.1f}" if self.info.kind in ("figure", "remark") else signed(value, 1)


def judge(kind: ClaimKind, claimed_pct: float | None, low_pct: float, high_pct: float) -> Verdict:
    """The verdict on a claim from the 95% interval [low_pct, high_pct] of what was measured.

    Raises ValueError for an effect, a figure or an equality without the claimed figure.
    """
    if kind == "direction":
        reproduced, refuted = low_pct > 0, high_pct < 0
    elif claimed_pct is None:
        raise ValueError(f"a claim of kind {kind} needs the claimed figure")
    elif kind == "effect":
        if claimed_pct < 0:
            low_pct, high_pct = -high_pct, -low_pct
        refuted = high_pct < abs(claimed_pct) / 2
        reproduced = low_pct > 0 and not refuted
    else:
        lower, upper = claimed_pct - MARGIN_PCT, claimed_pct + MARGIN_PCT
        reproduced = lower <= low_pct and high_pct <= upper
        refuted = high_pct < lower or upper < low_pct
    if reproduced:
        return Verdict.REPRODUCED
    return Verdict.NOT_REPRODUCED if refuted else Verdict.UNDECIDED


def judged(report: Report) -> tuple[Claim, ...]:
    """Every claim of the report with its verdict, in order.

    Raises ConfigError for one that names no row or transfer, or has no figure to be held against.
    """
    known: dict[str, ReportRow | TransferRow] = {row.id: row for row in report.rows}
    known |= {transfer.id: transfer for transfer in report.transfers}
    return tuple(_judged(report, claim_id, info, known) for claim_id, info in report.claims.items())


def _judged(
    report: Report,
    claim_id: str,
    info: ClaimInfo,
    known: Mapping[str, ReportRow | TransferRow],
) -> Claim:
    if info.row is None:
        return Claim(claim_id, info, info.stated_pct, None, None, Verdict.NOTHING_TO_RUN)
    for name in (info.row, info.baseline):
        if name is not None and name not in known:
            raise ConfigError(
                f"claims.{claim_id}: {name!r} is no row or transfer; known: {', '.join(known)}"
            )
    row, baseline = known[info.row], known[info.baseline] if info.baseline else None
    paper = _paper_pct(row, baseline)
    claimed = info.stated_pct if info.stated_pct is not None else paper
    if claimed is None and info.kind != "direction":
        raise ConfigError(
            f"claims.{claim_id}: stated_pct: needed, the paper has no figures for these rows"
        )
    missing = tuple(item.command for item in (row, baseline) if item and item.result is None)
    if missing or row.result is None:
        return Claim(claim_id, info, claimed, paper, None, Verdict.NOT_RUN, missing)
    ours = report.difference(row, baseline) if baseline else row.result.metrics.top1
    if ours is None or ours.low_pct is None or ours.high_pct is None:
        return Claim(claim_id, info, claimed, paper, ours, Verdict.UNDECIDED)
    verdict = judge(info.kind, claimed, ours.low_pct, ours.high_pct)
    return Claim(claim_id, info, claimed, paper, ours, verdict)


def _paper_pct(
    row: ReportRow | TransferRow, baseline: ReportRow | TransferRow | None
) -> float | None:
    """The paper's figure, or its printed difference, or the difference of its two figures."""
    if row.info.paper is None or (baseline and baseline.info.paper is None):
        return None
    if baseline is None or baseline.info.paper is None:
        return row.info.paper.top1_pct
    printed = row.printed_delta_pct(baseline.id)
    if printed is not None:
        return printed
    return round(row.info.paper.top1_pct - baseline.info.paper.top1_pct, 2)


def tally(claims: tuple[Claim, ...]) -> tuple[tuple[Verdict, int], ...]:
    """How many claims have each verdict; those without a claim are left out."""
    counts = Counter(claim.verdict for claim in claims)
    return tuple((verdict, counts[verdict]) for verdict in Verdict if counts[verdict])


def by_source(claims: tuple[Claim, ...]) -> tuple[tuple[str, tuple[Claim, ...]], ...]:
    """Claims gathered by where they are made, in the order of first appearance."""
    sources = dict.fromkeys(claim.info.source for claim in claims)
    return tuple(
        (_SOURCES.get(source, source), tuple(c for c in claims if c.info.source == source))
        for source in sources
    )


_SOURCES = {
    "text": "The paper's text",
    "elsewhere": "Said of the paper elsewhere, where that differs from it",
    "extension": "Not in the paper: asked by this project",
}


_FIELDS = ("claim", "title", "kind", "source", "row", "baseline", "claimed_pct", "paper_pct")
_MEASURED = ("ours_pct", "low_pct", "high_pct", "over", "seeds", "verdict", "checks_claims")


def claims_csv(report: Report) -> str:
    """Every claim with its verdict as CSV, figures rounded to six decimals, absent ones empty."""
    output = io.StringIO()
    writer = csv.writer(output, lineterminator="\n")
    writer.writerow((*_FIELDS, *_MEASURED))
    for claim in judged(report):
        info, ours = claim.info, claim.ours
        figures = [claim.claimed_pct, claim.paper_pct]
        figures += [ours.mean_pct, ours.low_pct, ours.high_pct] if ours else [None] * 3
        plain = ["" if x is None else round(x, 6) for x in figures]
        names = [claim.id, info.title, info.kind, info.source, info.row or "", info.baseline or ""]
        rest = [ours.over, ours.seeds] if ours else ["", ""]
        verdict = [claim.verdict.value, str(report.scale.checks_claims).lower()]
        writer.writerow([*names, *plain, *rest, *verdict])
    return output.getvalue()
