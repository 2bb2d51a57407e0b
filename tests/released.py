"""The rows of published weights, which stand in params.yaml as comments."""

MARK = "# "


def with_released_rows(text: str) -> str:
    """params.yaml as one has it who has taken the comments off the rows below `released`."""
    head, tail = text.split("\nreleased: {}\n")
    lines = tail.splitlines()
    count = next((n for n, line in enumerate(lines) if not line.startswith(MARK)), len(lines))
    rows = [line.removeprefix(MARK) for line in lines[:count]]
    return "\n".join([head, "released:", *rows, *lines[count:], ""])
