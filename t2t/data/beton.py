"""The bytes of a .beton file, read without FFCV.

Layout of FFCV's format version 2, as this project writes it (all little-endian): a header, one
descriptor for each of the fields `image` and `label`, one metadata record for each sample, pages
of pixels aligned to the page size, and at the end a table of (sample, address, bytes).
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from t2t.data.types import Pixels
from t2t.errors import DataError

FORMAT_VERSION = 2
PAGE_BYTES = 1 << 21
IMAGE_TYPE, LABEL_TYPE = 2, 1
RAW_MODE = 1
FIELDS = {"image": IMAGE_TYPE, "label": LABEL_TYPE}

HEADER = np.dtype(
    [
        ("version", "<u2"),
        ("num_fields", "<u2"),
        ("page_size", "<u4"),
        ("num_samples", "<u8"),
        ("alloc_table_ptr", "<u8"),
    ]
)
DESCRIPTOR = np.dtype([("type_id", "u1"), ("name", "S16"), ("arguments", "V1024")])
IMAGE_RECORD = np.dtype([("mode", "u1"), ("width", "<u2"), ("height", "<u2"), ("address", "<u8")])
RECORD = np.dtype([("image", IMAGE_RECORD), ("label", "<i8")], align=True)
ALLOCATION = np.dtype([("sample", "<u8"), ("address", "<u8"), ("bytes", "<u8")])

REMEDY = "write the shard again"


class BetonFile:
    """A .beton file, memory-mapped: `labels` (n,) int64 and the pixels of each sample.

    Raises DataError where the file is missing, cut short, unfinished, of another layout, or points
    outside itself. It does not notice changed pixels: that is what the manifest's SHA-256 is for.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._bytes = np.memmap(path, np.uint8, mode="r")
        except FileNotFoundError:
            raise DataError(f"{path}: missing; {REMEDY}") from None
        except (OSError, ValueError) as error:
            raise DataError(f"{path}: unreadable ({error}); {REMEDY}") from None
        self.header = self._table(HEADER, 0, 1, "header")[0]
        self._check_header()
        records_at = HEADER.itemsize + len(FIELDS) * DESCRIPTOR.itemsize
        self.num_samples = int(self.header["num_samples"])
        self.records = self._table(RECORD, records_at, self.num_samples, "sample records")
        self.labels: NDArray[np.int64] = self.records["label"].astype(np.int64)
        self._check_records(records_at + self.num_samples * RECORD.itemsize)

    def pixels(self, index: int) -> Pixels:
        """The stored pixels of a sample, (H, W, 3) uint8, a read-only view."""
        record = self.records["image"][index]
        height, width = int(record["height"]), int(record["width"])
        start = int(record["address"])
        return self._bytes[start : start + height * width * 3].reshape(height, width, 3)

    def _table(self, dtype: np.dtype, offset: int, count: int, what: str) -> NDArray:
        end = offset + count * dtype.itemsize
        if end > len(self._bytes):
            raise self._damage(f"ends within the {what}: {len(self._bytes)} bytes, needs {end}")
        return self._bytes[offset:end].view(dtype)

    def _damage(self, problem: str) -> DataError:
        return DataError(f"{self.path}: {problem}; {REMEDY}")

    def _check_header(self) -> None:
        if self.header["version"] != FORMAT_VERSION:
            found = self.header["version"]
            raise self._damage(f"format version {found}, expected FFCV's {FORMAT_VERSION}")
        if self.header["num_fields"] != len(FIELDS):
            raise self._damage(f"{self.header['num_fields']} fields, expected {list(FIELDS)}")
        fields = self._table(DESCRIPTOR, HEADER.itemsize, len(FIELDS), "field descriptors")
        found = {bytes(field["name"]).decode("latin-1"): int(field["type_id"]) for field in fields}
        if found != FIELDS:
            raise self._damage(f"fields {found}, expected {FIELDS}")
        page_size = int(self.header["page_size"])
        if page_size < PAGE_BYTES or page_size & (page_size - 1):
            raise self._damage(f"page size {page_size} is not a power of two >= {PAGE_BYTES}")
        if self.header["alloc_table_ptr"] == 0:
            raise self._damage("no allocation table, its writer did not finish")

    def _check_records(self, records_end: int) -> None:
        table_at = int(self.header["alloc_table_ptr"])
        whole = table_at + self.num_samples * ALLOCATION.itemsize
        if whole != len(self._bytes):
            raise self._damage(f"{len(self._bytes)} bytes, its header asks for {whole}")
        image = self.records["image"]
        if (image["mode"] != RAW_MODE).any():
            raise self._damage("holds images that are not stored raw")
        sizes = image["height"].astype(np.uint64) * image["width"] * np.uint64(3)
        outside = (image["address"] < records_end) | (image["address"] > table_at)
        outside |= sizes > np.uint64(table_at) - np.minimum(image["address"], np.uint64(table_at))
        if outside.any() or (sizes == 0).any():
            raise self._damage("a sample's pixels lie outside the file's pages")
