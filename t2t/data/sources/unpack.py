"""Unpacking an archive of images: inside its folder only, and whole or not at all."""

import errno
import gzip
import lzma
import os
import shutil
import stat
import tarfile
import zipfile
import zlib
from pathlib import Path, PurePosixPath
from typing import BinaryIO, cast

from t2t.errors import DataError, EnvironmentProblem
from t2t.files import CHUNK_BYTES, partial_path

TAR_SUFFIXES = (".tar", ".tar.gz", ".tgz")
ARCHIVE_SUFFIXES = (*TAR_SUFFIXES, ".zip")
GZIP_MAGIC = b"\x1f\x8b"
TAR_END = bytes(2 * tarfile.BLOCKSIZE)
# Photographs hardly shrink, and plain bitmaps to a tenth. Deflate itself can reach a thousandth.
MOST_GROWTH = 100
ALWAYS_ALLOWED_BYTES = 1 << 30
# What a file takes on a disk however little is in it: empty ones would be free, without end.
LEAST_BYTES = 1 << 12
# 1 GB at LEAST_BYTES each would be a quarter of a million files, out of an archive of some kB.
ALWAYS_ALLOWED_MEMBERS = 10_000
# What tarfile reads into memory before it shows a member: long names, and pax headers.
IN_MEMORY = (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE)
IN_MEMORY += (tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK)
MOST_IN_MEMORY_BYTES = 1 << 20
_SPARSE = "a file with holes, as no image has"
DAMAGE = (
    *(tarfile.ReadError, tarfile.HeaderError, tarfile.StreamError),
    *(gzip.BadGzipFile, zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError),
    RuntimeError,  # an encrypted zip
    *(ValueError, OverflowError),  # names, numbers and times that are none
    MemoryError,  # LZMA is told how much it wants
)
LONGEST_REASON = 300


class _Refused(tarfile.FilterError):
    """A member that has no business in an archive of images."""


class _Member(tarfile.TarInfo):
    """A member whose own header is looked at before anything behind it is read."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> "_Member":
        member = super().frombuf(buf, encoding, errors)
        if member.type in IN_MEMORY and member.size > MOST_IN_MEMORY_BYTES:
            raise _Refused(f"a header of {member.size:,} bytes, as no image has")
        if member.type == tarfile.GNUTYPE_SPARSE:
            raise _Refused(_SPARSE)
        return member

    def _proc_gnusparse_00(self, *_: object) -> None:
        """Where tarfile would read a map of holes: here for GNU's first way to say it."""
        raise _Refused(_SPARSE)

    _proc_gnusparse_01 = _proc_gnusparse_00
    # The map of this one would be of any length; that of the others is in a header.
    _proc_gnusparse_10 = _proc_gnusparse_00


def unpack(archive: Path, folder: Path) -> None:
    """Unpack a .tar, .tar.gz, .tgz or .zip as `folder`, which must not be there yet.

    Where the archive holds a single folder, that one becomes `folder`. Only plain files and
    folders are taken, none that would land outside, and not more than MOST_GROWTH times what the
    archive has (or 1 GB, and 10,000 of them), each counted as LEAST_BYTES at least.

    Raises DataError for an archive that is cut, damaged or of another kind, and for a member that
    is refused, EnvironmentProblem where it cannot be written; nothing is left then.
    """
    partial = partial_path(folder)
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        _extract(archive, partial)
        # One call for thousands of files: all are on the disk before the folder has its name.
        os.sync()
        _only_folder(partial).rename(folder)
    except tarfile.FilterError as error:
        raise DataError(f"{archive}: refused: {_short(error)}") from None
    except (*DAMAGE, OSError) as error:
        if isinstance(error, OSError) and not _is_of_bytes(error):
            told = f"{archive}: cannot be unpacked as {folder}: {_short(error)}"
            raise EnvironmentProblem(told) from None
        told = f"{archive}: cut, damaged or encrypted ({_short(error)}); get it again"
        raise DataError(told) from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _is_of_bytes(error: OSError) -> bool:
    """bz2 and gzip raise an OSError without a number; one of a place before the file names none."""
    return error.errno is None or (error.errno == errno.EINVAL and error.filename is None)


def _short(error: Exception) -> str:
    """What it says, without the end of the names in it, which damage can make of any length."""
    said = str(error)
    return said if len(said) <= LONGEST_REASON else f"{said[:LONGEST_REASON]} ..."


def _extract(archive: Path, folder: Path) -> None:
    if archive.name.endswith(".zip"):
        with zipfile.ZipFile(archive) as file:
            budget = _Budget(archive)
            for member in file.infolist():
                _check_zip_member(member)
                budget.take(member.file_size)
            file.extractall(folder)
    elif archive.name.endswith(TAR_SUFFIXES):
        _check_tar_end(archive)
        with _stream(archive) as stream, _opened(stream) as file:
            budget = _Budget(archive)

            def checked(member: tarfile.TarInfo, path: str) -> tarfile.TarInfo | None:
                budget.take(member.size)
                return _plain_member(member, path)

            file.extractall(folder, filter=checked)
            while stream.read(CHUNK_BYTES):  # gzip compares its checksum at the very end
                pass
    else:
        raise DataError(f"{archive}: not one of {', '.join(ARCHIVE_SUFFIXES)}")


class _Budget:
    """What an archive's members may still have, and how many may come. Raises where it is passed.

    MOST_GROWTH and LEAST_BYTES together allow a member for every 41 bytes of the archive, and an
    image takes more than these for its name alone.
    """

    def __init__(self, archive: Path) -> None:
        grown = MOST_GROWTH * archive.stat().st_size
        self.left = self.all = max(ALWAYS_ALLOWED_BYTES, grown)
        self.members_left = self.members = max(ALWAYS_ALLOWED_MEMBERS, grown // LEAST_BYTES)

    def take(self, size: int) -> None:
        self.left -= max(size, LEAST_BYTES)
        self.members_left -= 1
        if self.left < 0:
            raise _Refused(f"it unpacks to more than {self.all:,} bytes, as no set of images does")
        if self.members_left < 0:
            raise _Refused(f"it holds more than {self.members:,} files, as no set of its size does")


def _stream(archive: Path) -> BinaryIO:
    return cast(BinaryIO, gzip.open(archive)) if _is_gzip(archive) else archive.open("rb")


def _opened(stream: BinaryIO) -> tarfile.TarFile:
    return tarfile.open(fileobj=stream, mode="r|", tarinfo=_Member)


def _is_gzip(archive: Path) -> bool:
    """By its first bytes: what ImageNet-V2's makers call .tar.gz is a bare tar."""
    with archive.open("rb") as file:
        return file.read(len(GZIP_MAGIC)) == GZIP_MAGIC


def _plain_member(member: tarfile.TarInfo, folder: str) -> tarfile.TarInfo | None:
    """What `tarfile.data_filter` takes, less links: photographs need none, attacks do."""
    if not (member.isfile() or member.isdir()):
        raise _Refused(f"{member.name!r} is neither a file nor a folder")
    if PurePosixPath(member.name).is_absolute():
        raise _Refused(f"{member.name!r} is an absolute path")
    return tarfile.data_filter(member, folder)


def _check_zip_member(member: zipfile.ZipInfo) -> None:
    path = PurePosixPath(member.filename.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts:
        raise _Refused(f"{member.filename!r} would be outside its folder")
    kind = stat.S_IFMT(member.external_attr >> 16)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise _Refused(f"{member.filename!r} is neither a file nor a folder")


def _check_tar_end(archive: Path) -> None:
    """A bare tar has no checksum: where it was cut between two members, only its end is missing."""
    if not _is_gzip(archive):
        with archive.open("rb") as file:
            file.seek(max(0, archive.stat().st_size - len(TAR_END)))
            if file.read() != TAR_END:
                raise tarfile.ReadError("its end is missing")


def _only_folder(folder: Path) -> Path:
    entries = [
        entry
        for entry in folder.iterdir()
        if entry.name != "__MACOSX" and not entry.name.startswith(".")
    ]
    return entries[0] if len(entries) == 1 and entries[0].is_dir() else folder
