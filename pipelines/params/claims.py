"""`claims.<claim>`: what is said of the rows, by the paper and by others; the report's alone."""

from typing import Annotated, Literal

from pydantic import Field

from pipelines.params.reader import Name, Params, ParamsPart

# Which of `row` and `baseline` a claim of this kind names.
_NAMES = {
    "effect": {"row", "baseline"},
    "equal": {"row", "baseline"},
    "direction": {"row", "baseline"},
    "figure": {"row"},
    "remark": set(),
}


class Claim(ParamsPart):
    """What is said of two rows or two transfers (`row`, `baseline`), or of one.

    `stated_pct` stands only where the figure is not the one that the rows' `paper` gives.
    """

    title: Annotated[str, Field(min_length=1, max_length=120)]
    kind: Literal["effect", "equal", "direction", "figure", "remark"]
    source: Annotated[str, Field(pattern=r"^(Table [1-7]|text|brief|extension)$")]
    row: Name | None = None
    baseline: Name | None = None
    stated_pct: Annotated[float, Field(ge=-100, le=100)] | None = None
    note: str = ""


def check_claims(params: Params) -> None:
    """Raises ConfigError, at the line, for a claim that cannot be held against the rows."""
    known = [
        name
        for section in ("rows", "derived", "transfers")
        for name in params.tree.get(section) or ()
    ]
    for name in params.part("claims", dict):
        key = f"claims.{name}"
        claim = params.part(key, Claim)
        named = {field for field in ("row", "baseline") if getattr(claim, field) is not None}
        if named != _NAMES[claim.kind]:
            wanted = " and ".join(sorted(_NAMES[claim.kind], reverse=True)) or "neither row"
            raise params.error(key, f"a claim of kind {claim.kind} names {wanted}")
        for field in named:
            if getattr(claim, field) not in known:
                raise params.error(
                    f"{key}.{field}",
                    f"{getattr(claim, field)!r} is no row or transfer (known: {', '.join(known)})",
                )
