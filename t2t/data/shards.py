"""Writing shards: a .beton file and its manifest, side by side."""

import contextlib
import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from t2t.data.beton import REMEDY, BetonFile
from t2t.data.beton_writer import BetonWriter
from t2t.data.encode_pool import Outcome, default_workers, encode
from t2t.data.intake import Intake, Unreadable, add_sample
from t2t.data.progress import Progress
from t2t.data.shard_manifest import MANIFEST_VERSION, ShardManifest, manifest_path
from t2t.data.stored_forms import Form, JpegForm, RawForm
from t2t.data.twins import KnownImages
from t2t.data.types import Split
from t2t.errors import ConfigError, DataError, EnvironmentProblem
from t2t.files import commit, partial_path, sha256_file


def write_shard(
    samples: Split,
    path: Path,
    *,
    split: str,
    classes: tuple[str, ...],
    image_size: int,
    source_fingerprint: str,
    crop_pct: float = 1.0,
    jpeg: JpegForm | None = None,
    unreadable: Unreadable = "refuse",
    workers: int | None = None,
    stall_timeout_s: float = 120.0,
    known: KnownImages | None = None,
) -> ShardManifest:
    """Write labelled images as the shard `path` with the manifest `<path>.json`.

    Every image is decoded, checked, turned upright and converted to RGB. It is stored raw, as the
    paper's evaluation view of `image_size` x `image_size` pixels (bicubic to
    floor(image_size / crop_pct), centre crop), or, where `jpeg` is given, whole as a JPEG file;
    `image_size` is then what readers render it to, unless they are told another size.

    `workers` processes (None: one a core, fewer for a few hundred images) do that, this one
    writes, and a shard of any size takes the memory of some hundred images. Equal samples give
    equal bytes, whatever their number. The file gets its name only after all of it was read back
    and compared.

    Images that show the same, inside the split or in one that `known` holds, are counted and listed
    in the manifest; the split is added to `known`.

    Raises ConfigError for arguments out of range, DataError for images or labels that cannot be
    stored (each named by its index and path) and for a worker that dies or gives nothing for
    `stall_timeout_s` seconds, EnvironmentProblem where the disk is full or fails. With
    `unreadable` "skip", up to 1 % of the images may be unreadable: they are left out and listed in
    the manifest.
    """
    form = jpeg or RawForm(image_size, crop_pct)
    _check_arguments(samples, split, image_size, unreadable, workers)
    intake = Intake(split, classes, len(samples), unreadable)
    given = {"split": split, "classes": tuple(classes), "image_size": image_size}
    given |= {"source_fingerprint": source_fingerprint}
    workers = workers or default_workers(len(samples))
    partial = partial_path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        outcomes = encode(samples, form, workers=workers, stall_timeout_s=stall_timeout_s)
        with contextlib.closing(outcomes):
            _write(outcomes, form, partial, intake)
        _read_back(partial, intake)
        known = {} if known is None else known
        manifest = _commit_shard(partial, path, given | _facts(form) | intake.facts(known))
        known[split] = intake.shown
        return manifest
    except OSError as error:
        raise EnvironmentProblem(f"{path}: cannot be written ({error}); nothing is kept") from error
    finally:
        partial.unlink(missing_ok=True)


def _check_arguments(
    samples: Split, split: str, image_size: int, unreadable: str, workers: int | None
) -> None:
    if image_size < 1:
        raise ConfigError(f"image_size must be at least 1 pixel, not {image_size}")
    if unreadable not in ("refuse", "skip"):
        raise ConfigError(f"unreadable must be refuse or skip, not {unreadable!r}")
    if workers is not None and workers < 1:
        raise ConfigError(f"workers must be at least 1, not {workers}")
    if len(samples) == 0:
        raise DataError(f"split {split!r} has no images; check the source")


def _write(outcomes: Iterable[Outcome], form: Form, path: Path, intake: Intake) -> None:
    writer = BetonWriter(path, intake.of, form.mode, form.page_bytes)
    with writer, Progress(f"writing {intake.split}", intake.of) as progress:
        for outcome in outcomes:
            if (taken := intake.take(outcome)) is not None:
                image, label = taken
                size = {"height": image.height, "width": image.width}
                writer.add(image.content, **size, label=label)
            progress.advance()
        intake.finish()
        writer.finish()
        left_out = f", {len(intake.skipped):,} unreadable left out" * bool(intake.skipped)
        progress.say(f"{intake.split}: {writer.num_samples:,} images as {form.mode}{left_out}")


def _read_back(path: Path, intake: Intake) -> None:
    beton, digest = BetonFile(path), hashlib.sha256()
    with Progress(f"checking {intake.split}", beton.num_samples) as progress:
        for index, label in enumerate(beton.labels.tolist()):
            add_sample(digest, beton.stored(index), label)
            progress.advance()
    if digest.digest() != intake.digest.digest():
        raise DataError(f"{path}: reading back gave other images or labels; {REMEDY}")


def _facts(form: Form) -> dict[str, Any]:
    """The manifest's keys that say how images are stored."""
    jpeg = form if isinstance(form, JpegForm) else None
    return {
        "write_mode": form.mode,
        "crop_pct": float(form.crop_pct) if isinstance(form, RawForm) else None,
        "max_side_px": jpeg and jpeg.max_side_px,
        "quality": jpeg and jpeg.quality,
    }


def _commit_shard(partial: Path, path: Path, facts: dict[str, Any]) -> ShardManifest:
    manifest = ShardManifest(
        **facts,
        format_version=MANIFEST_VERSION,
        sha256=sha256_file(partial),
        bytes=partial.stat().st_size,
    )
    # Between the two renames the shard has no manifest, never another shard's.
    manifest_path(path).unlink(missing_ok=True)
    commit(partial, path)
    manifest.save(path)
    return manifest
