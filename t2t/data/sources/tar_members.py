"""Where the images lie in an uncompressed tar, and its MD5, in one pass over it."""

import hashlib
import tarfile
from pathlib import Path
from typing import NamedTuple, cast

from t2t.data.sources.unpack import DAMAGE
from t2t.errors import DataError
from t2t.files import CHUNK_BYTES

# tarfile's own 10 kB a read would make the reading the slow part.
READ_BYTES = 1 << 20


class Member(NamedTuple):
    """A file in a tar: its name, where its bytes begin, how many there are."""

    name: str
    offset: int
    size: int


class TarContents(NamedTuple):
    """The files of a tar in its own order, the tar's bytes and hex MD5."""

    members: list[Member]
    size: int
    md5: str


class _Hashing:
    """A file that can be read once, from its beginning, and hashes what is read."""

    def __init__(self, path: Path) -> None:
        self.file, self.size = path.open("rb", buffering=0), 0
        self.md5 = hashlib.md5(usedforsecurity=False)

    def read(self, size: int) -> bytes:
        data = self.file.read(size) or b""
        self.md5.update(data)
        self.size += len(data)
        return data


def read_tar(path: Path, *, md5: str, tars_inside: bool = False) -> TarContents:
    """Look through a tar of images, or of tars of images: `<name>.tar` in it gives `<name>/...`.

    Raises DataError where its MD5 is not `md5`, or it is no tar at all.
    """
    stream = _Hashing(path)
    members: list[Member] = []
    damage = ""
    with stream.file:
        try:
            with _opened(stream) as tar:
                for member in tar:
                    if tars_inside and member.name.endswith(".tar"):
                        members += _inside(tar, member)
                    elif member.isfile():
                        members.append(Member(member.name, member.offset_data, member.size))
        except (tarfile.TarError, *DAMAGE) as error:
            damage = f", and reading it gave {error}"
        while stream.read(CHUNK_BYTES):
            pass
    found = stream.md5.hexdigest()
    if found != md5 or damage:
        raise DataError(
            f"{path}: MD5 {found}, the publishers' is {md5}{damage}; "
            f"it has {stream.size:,} bytes and is cut or damaged, get it again"
        )
    return TarContents(members, stream.size, found)


def _opened(stream: object) -> tarfile.TarFile:
    # A stream is read forward only, which is what makes one pass of it.
    return tarfile.open(fileobj=cast("tarfile._Fileobj", stream), mode="r|", bufsize=READ_BYTES)


def _inside(tar: tarfile.TarFile, member: tarfile.TarInfo) -> list[Member]:
    file = tar.extractfile(member)
    if file is None:
        raise tarfile.ReadError(f"{member.name} is no file")
    folder = member.name.removesuffix(".tar")
    with _opened(file) as inner:
        return [
            Member(f"{folder}/{image.name}", member.offset_data + image.offset_data, image.size)
            for image in inner
            if image.isfile()
        ]
