"""When a shard's SHA-256 is computed, and when remembered."""

import os

import pytest

from t2t.data import verify
from t2t.data.verify import verify_shard
from t2t.errors import DataError


@pytest.fixture
def hashed(monkeypatch, tmp_path):
    """The files that are hashed; every shard counts as large, the cache is a folder of its own."""
    seen = []

    def counting(path, real=verify.sha256_file):
        seen.append(path.name)
        return real(path)

    monkeypatch.setattr(verify, "sha256_file", counting)
    monkeypatch.setattr(verify, "ALWAYS_HASHED_BYTES", 0)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return seen


def test_a_large_shard_is_hashed_once(copied, hashed):
    path = copied()
    before = sorted(path.parent.iterdir())
    first = verify_shard(path)
    assert verify_shard(path) == first == verify_shard(path)
    assert hashed == ["copy.beton"]
    cache = path.parent / "cache"
    assert sorted({*path.parent.iterdir()} - {cache}) == before  # DVC's folder stays as it was
    assert [file.stat().st_size for file in cache.rglob("*") if file.is_file()] == [0]


def test_another_state_is_hashed_again(copied, hashed):
    path = copied()
    verify_shard(path)
    os.utime(path, ns=(0, 0))
    verify_shard(path)
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content)  # another inode
    verify_shard(path)
    path.rename(path.with_name("other.beton"))
    (path.parent / "copy.beton.json").rename(path.parent / "other.beton.json")
    verify_shard(path.with_name("other.beton"))
    assert hashed == ["copy.beton"] * 3 + ["other.beton"]


def test_damage_is_not_remembered_as_sound(copied, hashed):
    path = copied()
    damaged = bytearray(path.read_bytes())
    damaged[-3000] ^= 1
    path.write_bytes(damaged)
    for _ in range(2):
        with pytest.raises(DataError, match="damaged, SHA-256"):
            verify_shard(path)
    assert len(hashed) == 2


def test_damage_after_the_first_look_is_found_by_its_time(copied, hashed):
    path = copied()
    verify_shard(path)
    with path.open("r+b") as file:
        file.seek(-3000, os.SEEK_END)
        file.write(b"\x01\x02\x03")
    with pytest.raises(DataError, match="damaged, SHA-256"):
        verify_shard(path)


def test_without_a_place_to_remember_it_is_hashed_each_time(copied, hashed, monkeypatch):
    path = copied()
    monkeypatch.setenv("XDG_CACHE_HOME", "/dev/null")
    verify_shard(path)
    verify_shard(path)
    assert len(hashed) == 2


def test_a_small_shard_is_hashed_each_time(copied, hashed, monkeypatch):
    path = copied()
    monkeypatch.setattr(verify, "ALWAYS_HASHED_BYTES", 10**9)
    verify_shard(path)
    verify_shard(path)
    assert len(hashed) == 2
