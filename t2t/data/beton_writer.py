"""Writing a .beton file page by page, in the order in which samples come.

The bytes are those of FFCV's own `DatasetWriter` with one worker (a test compares them). That one
cannot be given JPEG files that exist already, takes samples from an index of its own, and waits for
ever where a worker of its fails; this one is fed, and holds one page in memory.
"""

from pathlib import Path
from typing import Self

import numpy as np

from t2t.data.beton import (
    ALLOCATION,
    DESCRIPTOR,
    FIELDS,
    FORMAT_VERSION,
    HEADER,
    MODES,
    RECORD,
    RECORDS_AT,
)
from t2t.data.types import WriteMode


class BetonWriter:
    """The file `path` under construction, with room for `capacity` samples' records.

    The header is written last, so that an unfinished file is none. A context manager: it closes
    the file, finished or not. Its methods raise OSError where the disk does.
    """

    def __init__(self, path: Path, capacity: int, mode: WriteMode, page_bytes: int) -> None:
        self._records = np.zeros(capacity, RECORD)
        self._allocations = np.zeros(capacity, ALLOCATION)
        self._mode, self._page_bytes = MODES[mode], page_bytes
        self._page = np.zeros(page_bytes, np.uint8)
        records_end = RECORDS_AT + self._records.nbytes
        self._page_at = -(-records_end // page_bytes) * page_bytes
        self._used = self.num_samples = 0
        self._file = path.open("wb")
        self._file.seek(self._page_at)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def add(self, stored: bytes, *, height: int, width: int, label: int) -> None:
        """Append a sample's image, not more bytes than a page has, and its label."""
        if self._used + len(stored) > self._page_bytes:
            self._flush()
        page, address = self._used, self._page_at + self._used
        self._page[page : page + len(stored)] = np.frombuffer(stored, np.uint8)
        self._used += len(stored)
        self._records[self.num_samples] = ((self._mode, width, height, address), label)
        self._allocations[self.num_samples] = (self.num_samples, address, len(stored))
        self.num_samples += 1

    def finish(self) -> None:
        """Write what is left, the tables and the header."""
        if self._used:
            self._flush()
        self._file.write(self._allocations[: self.num_samples].tobytes())
        descriptors = np.zeros(len(FIELDS), DESCRIPTOR)
        descriptors["name"], descriptors["type_id"] = list(FIELDS), list(FIELDS.values())
        table_at = self._page_at
        header = (FORMAT_VERSION, len(FIELDS), self._page_bytes, self.num_samples, table_at)
        self._file.seek(RECORDS_AT)
        self._file.write(self._records[: self.num_samples].tobytes())
        self._file.seek(0)
        self._file.write(np.array(header, HEADER).tobytes() + descriptors.tobytes())
        self._file.flush()

    def _flush(self) -> None:
        self._file.write(self._page.data)
        self._page_at += self._page_bytes
        self._page.fill(0)
        self._used = 0
