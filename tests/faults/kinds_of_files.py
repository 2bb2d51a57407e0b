"""Data that is damaged: shards, prepared sets, images, archives."""

import gzip
import hashlib
import io
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from t2t.data.crops import CropPolicy
from t2t.data.loader import ShardLoader
from t2t.data.shards import write_shard
from t2t.data.sources import Roots, open_prepared, prepare
from t2t.data.sources.fetch import Remote, md5_file, obtain_folder
from t2t.data.sources.unpack import unpack
from t2t.data.stored_forms import JpegForm
from t2t.errors import ConfigError
from tests.data.faulty import Steady
from tests.data.photographs import photograph

SHARD = {"split": "train", "classes": ("a", "b"), "source_fingerprint": "0" * 64, "workers": 1}
# What an image may be stored as, and under which name.
FORMATS = ("JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP")


def make_raw_shard(folder: Path) -> None:
    write_shard(Steady(24, 16), folder / "train.beton", image_size=16, **SHARD)


def make_jpeg_shard(folder: Path) -> None:
    form = JpegForm(max_side_px=40, quality=90)
    write_shard(Steady(24, 48), folder / "train.beton", image_size=32, jpeg=form, **SHARD)


def read_shard(folder: Path) -> Any:
    """Both engines in turn: all images of an epoch, and what the manifest says of them."""
    found = []
    for engine in ("torch", "ffcv"):
        loader = ShardLoader(
            folder / "train.beton", batch_size=8, seed=0, shuffle=True, crop=CropPolicy(),
            flip_prob=0.5, drop_last=False, engine=engine,
        )  # fmt: skip
        digest = hashlib.sha256()
        for batch in loader.epoch(0):
            digest.update(batch.images.numpy().tobytes() + batch.labels.numpy().tobytes())
        manifest = loader.manifest
        found.append((digest.hexdigest(), manifest.classes, manifest.channel_mean))
    return found


def make_prepared(folder: Path) -> None:
    """A set as arrays, and one as an index of files, which lie beside the damaged ones."""
    prepare("digits", folder / "arrays", split_seed=0, val_fraction=0.97)
    make_images(raw_images(folder))
    roots = Roots(shared=raw_images(folder).parent)
    prepare("imagefolder", folder / "index", roots=roots, path="set", **ASIDE)


def raw_images(folder: Path) -> Path:
    """Outside `folder`, so that they stay sound."""
    return folder.parent / "raw" / "set"


ASIDE: dict[str, Any] = {"val_fraction": 0.5, "split_seed": 0}


def read_prepared(folder: Path) -> Any:
    found = []
    roots = Roots(shared=raw_images(folder).parent)
    for name in ("arrays", "index"):
        source = open_prepared(folder / name, roots)
        digest = hashlib.sha256()
        for split in ("train", "val"):
            for index in range(len(source.split(split))):
                image, label = source.split(split)[index]
                digest.update(image.convert("RGB").tobytes() + bytes([label]))
        found.append((digest.hexdigest(), source.classes))
    return found


def make_images(folder: Path) -> None:
    """Two classes, an image of every format in each."""
    for label, name in enumerate(("cat", "dog")):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for number, kind in enumerate(FORMATS):
            image = photograph(10 * label + number, 40, 36)
            image.save(folder / name / f"{name}_{number}.{kind.lower()}", kind)


def read_images(folder: Path) -> Any:
    """From class folders to the pixels of a shard."""
    prepare_in = folder.parent / "prepared"
    roots = Roots(shared=folder.parent)
    prepare("imagefolder", prepare_in, roots=roots, path=folder.name, **ASIDE)
    source = open_prepared(prepare_in, roots)
    found = []
    for split in ("train", "val"):
        path = folder.parent / f"{split}.beton"
        given = SHARD | {"split": split, "classes": source.classes}
        write_shard(source.split(split), path, image_size=32, **given)
        loader = ShardLoader(
            path, batch_size=64, seed=0, shuffle=False, crop=None, flip_prob=0.0, drop_last=False,
            engine="torch",
        )  # fmt: skip
        (batch,) = loader.epoch(0)
        found += zip(map(_hash, batch.images.numpy()), batch.labels.tolist(), strict=True)
    return sorted(found)


def images_by_pillow(folder: Path, path: Path, right: Any) -> Any:
    """Damage that a decoder does not notice is another picture, and that one is to be stored."""
    found = []
    for label, name in enumerate(("cat", "dog")):
        for file in (folder / name).iterdir():
            with Image.open(file) as image:
                found.append((_hash(_view(image)), label))
    return sorted(found)


def _view(image: Image.Image) -> np.ndarray:
    """The paper's view of 32 pixels, channels first."""
    from t2t.data.images import stored_pixels

    return stored_pixels(image, 32, 1.0).transpose(2, 0, 1)


def _hash(pixels: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(pixels).tobytes()).hexdigest()


MEMBERS = [(f"{name}/{n}.png", bytes(range(256)) * (n + 1)) for name in "ab" for n in range(3)]


ZIPS = {
    "set.zip": zipfile.ZIP_DEFLATED,
    "lzma.zip": zipfile.ZIP_LZMA,
    "bz2.zip": zipfile.ZIP_BZIP2,
}
# Nothing is packed in the one with pax headers, so that damage comes as far as these.
TARS = {"set.tgz": 9, "pax.tgz": 0}


def make_archives(folder: Path) -> None:
    for name, method in ZIPS.items():
        with zipfile.ZipFile(folder / name, "w", method) as file:
            for member, content in MEMBERS:
                file.writestr(member, content)
    for name, level in TARS.items():
        with gzip.GzipFile(folder / name, "wb", level, mtime=0) as stream:
            stream.write(_tar(pax_headers={"mtime": "1.5"} if name == "pax.tgz" else {}))
    (folder / "published.tar").write_bytes(_tar({}))
    (folder.parent / "md5").write_text(md5_file(folder / "published.tar"))


def _tar(pax_headers: dict[str, str]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as file:
        for member, content in MEMBERS:
            info = tarfile.TarInfo(member)
            info.size, info.pax_headers = len(content), pax_headers
            file.addfile(info, io.BytesIO(content))
    return stream.getvalue()


def read_archives(folder: Path) -> Any:
    """What is unpacked: by its own checksums, and for a bare tar by the one that is published."""
    out = folder.parent / "unpacked"
    remote = Remote("https://nowhere.invalid/published.tar", (folder.parent / "md5").read_text())
    found = []
    for number, name in enumerate((*ZIPS, *TARS)):
        target = out / f"{folder.name}{number}"
        _removed(target)
        unpack(folder / name, target)
        found.append(_tree(target))
    roots = Roots(downloads=out / "roots", shared=folder)
    _removed(out / "roots")
    obtain_folder(roots, "published", "published.tar", remote, download=False)
    found.append(_tree(out / "roots" / "published"))
    return found


def _removed(folder: Path) -> None:
    import shutil

    if folder.is_dir():
        shutil.rmtree(folder)
    if folder.exists():
        raise ConfigError(f"{folder} is in the way")


def _tree(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
