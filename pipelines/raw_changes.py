"""Whether raw images are still those that were prepared: DVC watches none that lie outside.

Only sets of one's own (`imagefolder`) can change; of published ones the number of images or the
checksum is known.
"""

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pipelines.params.data import DataParams, ImageFolder
from pipelines.params.reader import Params
from pipelines.raw_roots import raw_roots
from t2t.data.sources.adapters.imagefolder import parts
from t2t.data.sources.class_folders import list_class_folders
from t2t.data.sources.indexed import COLUMNS
from t2t.data.sources.roots import Roots
from t2t.errors import DataError
from t2t.files import is_sealed

# Names and lengths, no file opened: 1.3 million take some 5 s once the system has them in memory.
# Beyond this one would wait for the listing.
MOST_IMAGES = 2_000_000


def check_raw(params: Params, scale: str, root: Path) -> None:
    """Compares what the scale's sets were prepared from with what lies there now.

    Compared are names and lengths, and an archive's length; another content of the same length is
    not seen. Nothing is compared where a set is not prepared, or its raw files are not here.

    Raises DataError naming what has changed and the stage to force, and what `list_class_folders`
    raises where the images do not lie as a set's any more.
    """
    for stage, data, folder in _own_sets(params, scale):
        manifest = _manifest(root / "data" / "raw" / folder)
        # With other parameters DVC prepares again by itself.
        if manifest is None or manifest.get("path") != data.path:
            continue
        roots = raw_roots(root / "data" / "downloads")
        told = _archive_change(manifest, roots)
        told = told or _folder_change(manifest, root / "data" / "raw" / folder, roots)
        if told:
            is_own = params.part("scale", str) == scale
            first = "" if is_own else f"set `scale: {scale}` in params.yaml, and "
            raise DataError(f"{told} since it was prepared; {first}run `dvc repro -f {stage}`")


def _own_sets(params: Params, scale: str) -> Iterator[tuple[str, ImageFolder, str]]:
    """Each set of one's own: the stage that prepares it, what it is, its folder in data/raw."""
    sets = {"": ("prepare", scale)}
    for name in params.part(f"scales.{scale}.downstream", dict):
        sets[f".downstream.{name}"] = (f"prepare_downstream@{name}", f"{scale}.{name}")
    for place, (stage, folder) in sets.items():
        data = params.part(f"scales.{scale}{place}.data", DataParams)
        if isinstance(data, ImageFolder):
            yield stage, data, folder


def _manifest(prepared: Path) -> dict[str, Any] | None:
    """The prepared set's manifest, None where there is no sound one: its reader says so."""
    try:
        manifest = json.loads((prepared / "manifest.json").read_text())
        return manifest if is_sealed(manifest) else None
    except (OSError, ValueError, AttributeError, RecursionError):
        return None


def _archive_change(manifest: dict[str, Any], roots: Roots) -> str | None:
    size, root = manifest.get("archive_bytes"), roots.find(manifest["path"])
    if size is None or root is None:
        return None
    archive = root / manifest["path"]
    found = archive.stat().st_size
    return None if found == size else f"{archive}: has {found:,} bytes, no more {size:,},"


def _folder_change(manifest: dict[str, Any], prepared: Path, roots: Roots) -> str | None:
    """Both splits lie in one folder, which an archive was unpacked as."""
    folder = manifest["places"]["train"]["path"]
    root = roots.find(folder)
    count = sum(sum(images.values()) for images in manifest["counts"].values())
    if root is None or count > MOST_IMAGES:
        return None
    known = _indexed(prepared)
    found = {}
    for part in parts(root / folder, manifest["path"]):
        listing = list_class_folders(root, folder, part)
        found |= dict(zip(listing.names, listing.sizes.tolist(), strict=True))
    if known is None or known == found:
        return None
    changed = sorted(name for name in known.keys() | found if known.get(name) != found.get(name))
    new, gone = len(found.keys() - known), len(known.keys() - found)
    other = len(changed) - new - gone
    return (
        f"{root / folder}: {new:,} images are new, {gone:,} are gone and {other:,} of another "
        f"length ({changed[0]}{', ...' * (len(changed) > 1)})"
    )


def _indexed(prepared: Path) -> dict[str, int] | None:
    """Bytes by name, as both splits' indices have them; None where they are damaged."""
    from pandas import read_csv

    form = {"sep": "\t", "quoting": csv.QUOTE_NONE, "na_filter": False, "dtype": COLUMNS}
    found = {}
    try:
        for index in prepared.glob("*.tsv"):
            table = read_csv(index, usecols=["bytes", "name"], **form)
            found |= dict(zip(table["name"], table["bytes"].tolist(), strict=True))
    except (OSError, ValueError):
        return None
    return found
