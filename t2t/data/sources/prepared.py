"""The prepared form of a source: a manifest, and arrays or an index for each split."""

import importlib
import json
import pkgutil
import shutil
from pathlib import Path
from typing import Any

from t2t.data.sources import adapters
from t2t.data.sources.arrays import load_arrays
from t2t.data.sources.indexed import Place, load_index
from t2t.data.sources.roots import Roots
from t2t.data.sources.source import REMEDY, Source, class_counts, leaked_images
from t2t.errors import ConfigError, DataError
from t2t.files import (
    SEAL,
    fsync_path,
    is_sealed,
    json_text,
    partial_path,
    sealed,
    sha256_file,
)

PREPARED_VERSION = 2
MANIFEST = "manifest.json"
NO_ROOTS = Roots()


def source_names() -> list[str]:
    """The names of the adapters, none of them imported."""
    return sorted(module.name for module in pkgutil.iter_modules(adapters.__path__))


def load_source(name: str, *, roots: Roots = NO_ROOTS, **parameters: Any) -> Source:
    """The raw set `name`, as its adapter finds it below `roots` with these parameters.

    Raises ConfigError for an unknown name, and what the adapter raises.
    """
    if name not in source_names():
        raise ConfigError(f"unknown source {name!r}; there are {', '.join(source_names())}")
    adapter = importlib.import_module(f"{adapters.__name__}.{name}")
    return adapter.load(roots, **parameters)


def prepare(
    source_name: str, out_dir: Path, *, roots: Roots = NO_ROOTS, **parameters: Any
) -> dict[str, Any]:
    """Write a source down below `out_dir`, whole or not at all, and return the manifest.

    Sets that are held in memory are written as arrays, sets of files as an index of these files.
    Equal sets and parameters give equal bytes, wherever the raw files lie. An earlier `out_dir` is
    replaced.

    Raises what `load_source` raises.
    """
    source = load_source(source_name, roots=roots, **parameters)
    partial = partial_path(out_dir)
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        manifest = _write(source, partial)
        _commit_folder(partial, out_dir)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return manifest


def _write(source: Source, folder: Path) -> dict[str, Any]:
    stored: dict[str, Any] = {}
    for name, split in source.splits.items():
        for key, value in split.save(folder, name).items():
            stored.setdefault(key, {}).update(value)
    manifest = {
        "format_version": PREPARED_VERSION,
        "name": source.name,
        "classes": list(source.classes),
        "counts": {name: class_counts(source, name) for name in source.splits},
        "fingerprint": source.fingerprint,
        "leaked_val_images": leaked_images(source.split("train"), source.split("val")),
        "files": {file.name: sha256_file(file) for file in sorted(folder.iterdir())},
        **source.facts,
        **stored,
    }
    manifest = sealed(manifest)
    (folder / MANIFEST).write_text(json_text(manifest))
    for file in folder.iterdir():
        fsync_path(file)
    return manifest


def _commit_folder(partial: Path, folder: Path) -> None:
    fsync_path(partial)
    if folder.exists():
        shutil.rmtree(folder)
    partial.rename(folder)
    fsync_path(folder.parent)


def open_prepared(folder: Path, roots: Roots = NO_ROOTS) -> Source:
    """The source that `prepare` wrote in `folder`, after checking every file's SHA-256.

    The raw files of an index are looked for below `roots`; each must be there with its length. A
    file whose SHA-256 the index has is compared with it whenever it is read; a tar is not hashed
    again, and nothing is known of the contents of sets too large to be hashed.

    Raises DataError naming the file that is missing, damaged or of another format.
    """
    manifest = _read_manifest(folder / MANIFEST)
    for file_name, expected in manifest["files"].items():
        path = folder / file_name
        if not path.is_file():
            raise DataError(f"{path}: missing, but {MANIFEST} lists it; {REMEDY}")
        if sha256_file(path) != expected:
            raise DataError(f"{path}: damaged, its SHA-256 is not what {MANIFEST} says; {REMEDY}")
    places = manifest.get("places")
    splits = {
        name: load_index(folder, name, Place(**places[name]), roots)
        if places
        else load_arrays(folder, name)
        for name in manifest["counts"]
    }
    source = Source(manifest["name"], tuple(manifest["classes"]), splits)
    if source.fingerprint != manifest["fingerprint"]:
        raise DataError(f"{folder / MANIFEST}: fingerprint is not the files'; {REMEDY}")
    return source


def _read_manifest(path: Path) -> dict[str, Any]:
    try:
        manifest = json.loads(path.read_text())
        version = manifest["format_version"]
    except FileNotFoundError:
        raise DataError(f"{path}: missing; prepare the data first") from None
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        raise DataError(f"{path}: unreadable ({type(error).__name__}: {error}); {REMEDY}") from None
    if version != PREPARED_VERSION:
        raise DataError(f"{path}: format {version!r}, expected {PREPARED_VERSION}; {REMEDY}")
    if not is_sealed(manifest):
        raise DataError(f"{path}: damaged, {SEAL} is not its content's; {REMEDY}")
    return manifest
