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
    """A file that its makers publish: address, and the hex checksum they give, if they give one."""

    url: str
    md5: str | None = None
    sha256: str | None = None

    @property
    def checksum(self) -> tuple[str, str]:
        """The algorithm that is checked, and its value, "" where none is known."""
        return ("MD5", self.md5) if self.md5 else ("SHA-256", self.sha256 or "")


def md5_file(path: Path) -> str:
    """Hex MD5 of a file's bytes: against damage, for it is no proof against forgery."""
    return _checksum_of(path, "MD5")


def _checksum_of(path: Path, algorithm: str) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: _digest(algorithm)).hexdigest()


def _digest(algorithm: str) -> "hashlib._Hash":
    return hashlib.md5(usedforsecurity=False) if algorithm == "MD5" else hashlib.sha256()


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
    """The root that holds the file `name`, its checksum compared; fetched where it is allowed.

    Raises DataError saying where to get it and where to put it (the file, or `instead`), and for a
    file with another checksum; EnvironmentProblem where a download fails.
    """
    root = roots.find(name)
    if root is not None:
        algorithm, wanted = remote.checksum
        if wanted and (found := _checksum_of(root / name, algorithm)) != wanted:
            raise DataError(
                f"{root / name}: {algorithm} {found}, the publishers' is {wanted}; "
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
        algorithm, wanted = remote.checksum
        got, length, found = _receive(remote.url, partial, algorithm)
        if length is not None and got != length:
            raise EnvironmentProblem(
                f"{remote.url}: the connection ended after {got:,} of {length:,} bytes; try again"
            )
        if wanted and found != wanted:
            raise DataError(
                f"{remote.url}: {algorithm} {found}, expected {wanted}; nothing was kept"
            )
        commit(partial, path)
    except (OSError, HTTPException) as error:
        raise EnvironmentProblem(f"{remote.url}: download failed: {error}; try again") from None
    finally:
        partial.unlink(missing_ok=True)


def _receive(url: str, path: Path, algorithm: str) -> tuple[int, int | None, str]:
    """Stores what `url` gives; returns bytes received, bytes announced, hex checksum."""
    from tqdm import tqdm

    digest, got = _digest(algorithm), 0
    with urllib.request.urlopen(url, timeout=TIMEOUT_S) as answer, path.open("wb") as file:
        announced = answer.headers.get("Content-Length")
        length = int(announced) if announced else None
        name = path.name.strip(".").removesuffix(".partial")
        with tqdm(total=length, desc=name, unit="B", unit_scale=True, disable=None) as bar:
            while chunk := answer.read(CHUNK_BYTES):
                file.write(chunk)
                digest.update(chunk)
                got += len(chunk)
                bar.update(len(chunk))
    return got, length, digest.hexdigest()
