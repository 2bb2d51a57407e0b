"""The rows of published weights, which stand in params.yaml as comments."""


def with_released_rows(text: str) -> str:
    """params.yaml as one has it who has taken the comments off."""
    head, rows = text.split("\nreleased: {}\n")
    lines = [line.removeprefix("# ") for line in rows.splitlines()]
    return "\n".join([head, "released:", *lines, ""])
