"""Checking a shard before it is read."""

from pathlib import Path

from t2t.data.beton import REMEDY, BetonFile
from t2t.data.shard_manifest import ShardManifest, load_manifest
from t2t.errors import DataError
from t2t.files import sha256_file


def verify_shard(path: Path) -> ShardManifest:
    """Check a shard against its manifest and return the manifest.

    Raises DataError naming the file and what is wrong: manifest, size, header, SHA-256.
    """
    manifest = load_manifest(path)
    if not path.is_file():
        raise DataError(f"{path}: missing, though its manifest is there; {REMEDY}")
    found = path.stat().st_size
    if found != manifest.bytes:
        raise DataError(f"{path}: {found} bytes, its manifest says {manifest.bytes}; {REMEDY}")
    beton = BetonFile(path)
    if beton.num_samples != manifest.num_samples:
        raise DataError(
            f"{path}: {beton.num_samples} samples, its manifest says {manifest.num_samples}; "
            f"{REMEDY}"
        )
    digest = sha256_file(path)
    if digest != manifest.sha256:
        raise DataError(f"{path}: damaged, SHA-256 {digest} is not its manifest's; {REMEDY}")
    return manifest
