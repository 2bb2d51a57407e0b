"""The bytes of a .beton file, read without FFCV.

Layout of FFCV's format version 2, as this project writes it (all little-endian): a header, one
descriptor for each of the fields `image` and `label`, one metadata record for each sample, pages
of stored images aligned to the page size, and at the end a table of (sample, address, bytes). An
image is stored raw (rows of RGB bytes) or as a JPEG file; one shard holds one kind.
"""

import os
import weakref
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from t2t.data.types import Pixels, WriteMode
from t2t.errors import DataError

FORMAT_VERSION = 2
MIN_PAGE_BYTES = 1 << 21
IMAGE_TYPE, LABEL_TYPE = 2, 1
FIELDS = {"image": IMAGE_TYPE, "label": LABEL_TYPE}
MODES: dict[WriteMode, int] = {"jpg": 0, "raw": 1}

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
RECORDS_AT = HEADER.itemsize + len(FIELDS) * DESCRIPTOR.itemsize

REMEDY = "write the shard again"


class BetonFile:
    """A .beton file, open for reading: `labels`, `heights`, `widths` (n,) int64, `write_mode`, and
    what is stored of each sample.

    Raises DataError where the file is missing, cut short, unfinished, of another layout, or has a
    record that points outside its pages. It does not notice changed pixels: that is what the
    manifest's SHA-256 is for.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._descriptor = os.open(path, os.O_RDONLY)
        except FileNotFoundError:
            raise DataError(f"{path}: missing; {REMEDY}") from None
        except OSError as error:
            raise DataError(f"{path}: unreadable ({error}); {REMEDY}") from None
        weakref.finalize(self, os.close, self._descriptor)
        self._bytes = os.fstat(self._descriptor).st_size
        self.header = self._table(HEADER, 0, 1, "header")[0]
        self._check_header()
        self.num_samples = int(self.header["num_samples"])
        self.records = self._table(RECORD, RECORDS_AT, self.num_samples, "sample records")
        self.allocations = self._allocation_table()
        self.labels: NDArray[np.int64] = self.records["label"].astype(np.int64)
        self.heights: NDArray[np.int64] = self.records["image"]["height"].astype(np.int64)
        self.widths: NDArray[np.int64] = self.records["image"]["width"].astype(np.int64)
        self.write_mode = self._the_mode()
        self._check_regions()

    def stored(self, index: int) -> Pixels:
        """The bytes stored of a sample's image, a new array (n,) uint8.

        Raises DataError where they cannot be read. Reads do not hold the interpreter's lock, and a
        file cut while it is read is an error, where a memory map would end the process.
        """
        _, address, size = self.allocations[index].tolist()
        return self._read(address, size, f"sample {index}")

    def _read(self, offset: int, size: int, what: str) -> Pixels:
        buffer = np.empty(size, np.uint8)
        done = 0
        while done < size:
            try:
                got = os.preadv(self._descriptor, [buffer.data[done:]], offset + done)
            except OSError as error:
                raise DataError(f"{self.path}: {what} cannot be read ({error.strerror})") from None
            if got == 0:
                raise self._damage(f"ends within the {what}, it was cut while in use")
            done += got
        return buffer

    def _table(self, dtype: np.dtype, offset: int, count: int, what: str) -> NDArray:
        end = offset + count * dtype.itemsize
        if end > self._bytes:
            raise self._damage(f"ends within the {what}: {self._bytes} bytes, needs {end}")
        table = self._read(offset, end - offset, what).view(dtype)
        table.setflags(write=False)
        return table

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
        if page_size < MIN_PAGE_BYTES or page_size & (page_size - 1):
            raise self._damage(f"page size {page_size} is not a power of two >= {MIN_PAGE_BYTES}")
        if self.header["alloc_table_ptr"] == 0:
            raise self._damage("no allocation table, its writer did not finish")

    def _allocation_table(self) -> NDArray:
        table_at = int(self.header["alloc_table_ptr"])
        whole = table_at + self.num_samples * ALLOCATION.itemsize
        if whole != self._bytes:
            raise self._damage(f"{self._bytes} bytes, its header asks for {whole}")
        return self._table(ALLOCATION, table_at, self.num_samples, "allocation table")

    def _the_mode(self) -> WriteMode:
        found = np.unique(self.records["image"]["mode"]).tolist()
        for name, code in MODES.items():
            if found == [code]:
                return name
        raise self._damage(f"image modes {found}, expected one of {MODES} for all")

    def _check_regions(self) -> None:
        """Every sample's bytes lie in one page, behind those of the sample before it."""
        address, size = self.allocations["address"], self.allocations["bytes"]
        table_at, page = self.header["alloc_table_ptr"], self.header["page_size"].astype(np.uint64)
        records_end = RECORDS_AT + self.num_samples * RECORD.itemsize
        outside = (address < records_end) | (address > table_at) | (size == 0) | (size > page)
        if outside.any() or (address[-1:] + size[-1:] > table_at).any():
            raise self._damage("a sample lies outside the file's pages")
        last = address + size - np.uint64(1)
        if (address // page != last // page).any() or (address[1:] <= last[:-1]).any():
            raise self._damage("samples overlap, or one lies across two pages")
        listed = (self.allocations["sample"] == np.arange(self.num_samples)).all()
        if not listed or (address != self.records["image"]["address"]).any():
            raise self._damage("its allocation table is not that of its records")
        raw_bytes = self.heights * self.widths * 3
        if (raw_bytes == 0).any() or self.write_mode == "raw" and (raw_bytes != size).any():
            raise self._damage("a sample's height and width are not those of its bytes")
