"""dvc.lock as text: entries of single stages, written without parsing those of all the others.

DVC reads and writes the whole file anew for each stage, seconds of work under its lock once a
graph has a hundred stages. An entry's bytes do not depend on its neighbours, so one can be
replaced alone; `pipelines.keeper` has DVC's own serializer confirm the result at the end.
"""

import re
from collections.abc import Mapping, Sequence

HEAD = "schema: '2.0'\nstages:\n"
_NAME = re.compile(r"^  (?! )(.+):\n", re.MULTILINE)


def entries_of(text: str) -> dict[str, str]:
    """The text of each stage's entry by the name of the stage, in the order of the file.

    Raises ValueError for what DVC's serializer has not written.
    """
    if not text:
        return {}
    head, stages, body = text.partition("stages:\n")
    if head != HEAD.partition("stages:\n")[0] or not stages:
        raise ValueError("dvc.lock does not begin as DVC's version 2.0 does")
    starts = list(_NAME.finditer(body))
    if body and (not starts or starts[0].start() != 0):
        raise ValueError("dvc.lock holds something else than stages")
    ends = [start.start() for start in starts[1:]] + [len(body)]
    return {
        start.group(1).strip("'\""): body[start.start() : end]
        for start, end in zip(starts, ends, strict=True)
    }


def text_of(entries: Mapping[str, str]) -> str:
    """The whole file of these entries."""
    return HEAD + "".join(entries.values())


def in_order(entries: Mapping[str, str], first: Sequence[str], then: Sequence[str]) -> list[str]:
    """The names of `entries`: those of `first`, then those of `then`, then what is in neither.

    first: as an earlier dvc.lock had them, where a serial `dvc repro` leaves them; then: the order
    of the graph, in which it appends the others.
    """
    wanted = dict.fromkeys([*first, *then, *entries])
    return [name for name in wanted if name in entries]
