"""Which values an option of a network may have, whatever the network; known without PyTorch."""

import sys
from typing import Any, Literal, get_args, get_origin

# Widths, depths and counts: more than any network has, and still quick to refuse.
MOST = 1 << 16
_SHARES = ("drop_path_rate", "token_dropout")


def wish_of(option: str, value: Any, wanted: Any) -> str | None:
    """What `value` of the option must be, its type hint being `wanted`; None where it is."""
    if get_origin(wanted) is Literal:
        return None if value in get_args(wanted) else f"one of {', '.join(get_args(wanted))}"
    if type(value) is not wanted and not (wanted is float and type(value) is int):
        return f"of type {wanted.__name__}"
    if option in _SHARES:
        return None if 0 <= value < 1 else "at least 0 and less than 1"
    if wanted is float:
        return None if 0 < value <= sys.float_info.max else "a number greater than 0"
    if wanted is int:
        return None if 1 <= value <= MOST else f"between 1 and {MOST}"
    return None
