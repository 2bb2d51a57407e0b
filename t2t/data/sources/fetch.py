"""Raw files that are found, or downloaded where that is allowed; whole, or not there at all."""

import hashlib
import urllib.request
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path

from t2t.data.sources.roots import Roots
from t2t.data.sources.unpack import unpack
from t2t.errors import DataError, EnvironmentProblem
from t2t.files import CHUNK_BYTES, commit, partial_path

TIMEOUT_S = 60.0


@dataclass(frozen=True)
class Remote:
    """A file that its makers publish: address and hex MD5, the checksum they give."""

    url: str
    md5: str


def md5_file(path: Path) -> str:
    """Hex MD5 of a file's bytes: against damage, for it is no proof against forgery."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def obtain_folder(
    roots: Roots, folder: str, archive: str, remote: Remote, *, download: bool
) -> Path:
    """The root that holds `folder`; unpacks its `archive` into the downloads where it is missing.

    Raises as `obtain_file` and `unpack` do.
    """
    root = roots.find(folder)
    if root is None:
        path = (
            obtain_file(roots, archive, remote, download=download, instead=f"{folder}/") / archive
        )
        root = roots.writable()
        unpack(path, root / folder)
    return root


def obtain_file(
    roots: Roots, name: str, remote: Remote, *, download: bool, instead: str = ""
) -> Path:
    """The root that holds the file `name`, its MD5 checked; fetched where it is allowed.

    Raises DataError saying where to get it and where to put it (the file, or `instead`), and for a
    file with another MD5; EnvironmentProblem where a download fails.
    """
    root = roots.find(name)
    if root is not None:
        found = md5_file(root / name)
        if found != remote.md5:
            raise DataError(
                f"{root / name}: MD5 {found}, the publishers' is {remote.md5}; "
                "it is cut or damaged, get it again"
            )
        return root
    if not download:
        wanted = f"{name} (or, unpacked, {instead})" if instead else name
        raise DataError(
            f"{wanted} is not in {roots.described}; put it there from {remote.url}, "
            "or allow it to be fetched with `download: true`"
        )
    root = roots.writable()
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    _download(remote, root / name)
    return root


def _download(remote: Remote, path: Path) -> None:
    partial = partial_path(path)
    try:
        got, length, md5 = _receive(remote.url, partial)
        if length is not None and got != length:
            raise EnvironmentProblem(
                f"{remote.url}: the connection ended after {got:,} of {length:,} bytes; try again"
            )
        if md5 != remote.md5:
            raise DataError(f"{remote.url}: MD5 {md5}, expected {remote.md5}; nothing was kept")
        commit(partial, path)
    except (OSError, HTTPException) as error:
        raise EnvironmentProblem(f"{remote.url}: download failed: {error}; try again") from None
    finally:
        partial.unlink(missing_ok=True)


def _receive(url: str, path: Path) -> tuple[int, int | None, str]:
    """Stores what `url` gives; returns bytes received, bytes announced, hex MD5."""
    from tqdm import tqdm

    md5, got = hashlib.md5(usedforsecurity=False), 0
    with urllib.request.urlopen(url, timeout=TIMEOUT_S) as answer, path.open("wb") as file:
        announced = answer.headers.get("Content-Length")
        length = int(announced) if announced else None
        name = path.name.strip(".").removesuffix(".partial")
        with tqdm(total=length, desc=name, unit="B", unit_scale=True, disable=None) as bar:
            while chunk := answer.read(CHUNK_BYTES):
                file.write(chunk)
                md5.update(chunk)
                got += len(chunk)
                bar.update(len(chunk))
    return got, length, md5.hexdigest()
