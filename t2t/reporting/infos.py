"""What a report is asked to show: rows, transfers, claims, as params.yaml has them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

ClaimKind = Literal["effect", "equal", "direction", "figure", "remark"]


@dataclass(frozen=True, slots=True)
class PaperFigures:
    """The paper's figures of one row, as printed; `delta_pct` is null where it prints none."""

    table: str
    block: str
    top1_pct: float
    params_m: float
    macs_g: float
    delta_pct: float | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Ancestor:
    """The row `row` whose runs another row's need, and their `role` as params.yaml names it."""

    row: str
    role: str


@dataclass(frozen=True, slots=True)
class RowInfo:
    """One row of the table; `baseline` is the id of the row its difference is taken from.

    `variant` and `train_fraction` say what is trained on which share of the images, `recipe` is
    the row's whole configuration, for people, and `asked_sha256` the hash of what of it decides
    the figures, "" where none is known. A `released` row's weights were not trained here.
    """

    title: str
    paper: PaperFigures | None = None
    baseline: str | None = None
    ancestor: Ancestor | None = None
    variant: str = ""
    train_fraction: float = 1.0
    recipe: Mapping[str, object] = field(default_factory=dict)
    released: bool = False
    asked_sha256: str = ""


@dataclass(frozen=True, slots=True)
class ScaleInfo:
    """The scale of the runs; `checks_claims` says whether it can test the paper's claims."""

    name: str
    description: str
    checks_claims: bool


@dataclass(frozen=True, slots=True)
class TableInfo:
    """One of the paper's tables: ids of rows by the name of their block, as printed."""

    number: str
    title: str
    blocks: Mapping[str, Sequence[str]]


@dataclass(frozen=True, slots=True)
class TransferPaper:
    """The paper's figure of one transfer, as printed in Table 5."""

    table: str
    top1_pct: float


@dataclass(frozen=True, slots=True)
class TransferInfo:
    """A row's network (`needs`) trained on, on another data set; `set_title` names that."""

    title: str
    needs: str
    set_title: str
    paper: TransferPaper | None = None


@dataclass(frozen=True, slots=True)
class ClaimInfo:
    """A claim about rows.

    `row` and `baseline` are two rows or two transfers; a `figure` has no baseline, a `remark`
    neither. `stated_pct` is the claimed figure where it is not the one that the rows' own figures
    give. `source` is a table of the paper, or `text`, `elsewhere` or `extension`.
    """

    title: str
    kind: ClaimKind
    source: str
    row: str | None = None
    baseline: str | None = None
    stated_pct: float | None = None
    note: str = ""
