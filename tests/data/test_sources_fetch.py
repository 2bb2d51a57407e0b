"""Downloading and unpacking: whole or not at all, and nothing outside."""

import gzip
import io
import stat
import tarfile
import tracemalloc
import zipfile

import pytest

from t2t.data.sources import unpack as unpack_module
from t2t.data.sources.fetch import Remote, obtain_file, obtain_folder
from t2t.data.sources.roots import Roots
from t2t.data.sources.tar_members import read_tar
from t2t.data.sources.unpack import unpack
from t2t.errors import ConfigError, DataError, EnvironmentProblem
from tests.data.serving import serving

CONTENT = bytes(range(256)) * 40


@pytest.fixture(scope="module")
def server():
    with serving() as served:
        yield served


@pytest.fixture
def roots(tmp_path):
    return Roots(downloads=tmp_path / "downloads", shared=tmp_path)


def names(folder) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def tar_bytes(members, *, compressed: bool = False) -> bytes:
    """A tar of (name, bytes) and of TarInfo, as they are."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                tar.addfile(member)
            else:
                info = tarfile.TarInfo(member[0])
                info.size = len(member[1])
                tar.addfile(info, io.BytesIO(member[1]))
    return gzip.compress(buffer.getvalue()) if compressed else buffer.getvalue()


def test_a_file_is_fetched_once_and_checked(server, roots, tmp_path):
    remote = server.add("set.bin", CONTENT)
    server.asked.clear()
    for _ in range(2):
        assert obtain_file(roots, "a/set.bin", remote, download=True) == tmp_path / "downloads"
    assert (tmp_path / "downloads" / "a" / "set.bin").read_bytes() == CONTENT
    assert server.asked == ["set.bin"]


def test_the_shared_root_comes_first_and_is_not_written_to(server, roots, tmp_path):
    remote = server.add("set.bin", CONTENT)
    (tmp_path / "set.bin").write_bytes(CONTENT)
    server.asked.clear()
    assert obtain_file(roots, "set.bin", remote, download=True) == tmp_path
    assert server.asked == [] and names(tmp_path) == ["set.bin"]


def test_what_may_not_be_fetched_says_where_to_get_it_and_where_to_put_it(server, roots, tmp_path):
    remote = server.add("set.tgz", CONTENT)
    with pytest.raises(DataError) as caught:
        obtain_folder(roots, "set", "set.tgz", remote, download=False)
    for part in (remote.url, "set.tgz", "set/", f"{tmp_path} or {tmp_path}/downloads", "download"):
        assert part in str(caught.value)
    with pytest.raises(ConfigError, match="no folder for downloads"):
        obtain_file(Roots(), "set.tgz", remote, download=True)


@pytest.mark.parametrize("fault", ["wrong MD5", "cut", "not there", "nobody listens"])
def test_a_failed_download_leaves_nothing(server, roots, fault):
    remote = server.add("faulty.bin", CONTENT)
    server.cut = {"faulty.bin"} if fault == "cut" else set()
    error, message = {
        "wrong MD5": (DataError, "MD5 .*, expected 0000"),
        "cut": (EnvironmentProblem, "ended after 5,120 of 10,240 bytes"),
        "not there": (EnvironmentProblem, "404"),
        "nobody listens": (EnvironmentProblem, "refused"),
    }[fault]
    if fault == "wrong MD5":
        remote = Remote(remote.url, "0" * 32)
    elif fault == "not there":
        remote = Remote(f"{server.address}/absent", remote.md5)
    elif fault == "nobody listens":
        remote = Remote("http://127.0.0.1:1/faulty.bin", remote.md5)
    with pytest.raises(error, match=message):
        obtain_file(roots, "faulty.bin", remote, download=True)
    assert names(roots.downloads) == []
    server.cut = set()
    obtain_file(roots, "faulty.bin", server.add("faulty.bin", CONTENT), download=True)


def test_a_damaged_file_is_not_taken_for_the_set(server, roots, tmp_path):
    archive = tar_bytes([("set/a", b"1"), ("set/b", b"2")], compressed=True)
    remote = server.add("set.tgz", archive)
    (tmp_path / "set.tgz").write_bytes(archive[:-9])
    with pytest.raises(DataError, match=r"set.tgz: MD5 .* cut or damaged"):
        obtain_folder(roots, "set", "set.tgz", remote, download=True)
    (tmp_path / "set.tgz").write_bytes(archive)
    assert obtain_folder(roots, "set", "set.tgz", remote, download=False) == roots.downloads
    assert names(roots.downloads) == ["set", "set/a", "set/b"]


TREE = [("top/train/a/1.txt", b"1" * 3000), ("top/val/a/2.txt", b"2" * 3000)]


def zip_bytes(members, mode: int = 0) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members:
            info = zipfile.ZipInfo(name)
            info.external_attr = mode << 16
            file.writestr(info, content)
    return buffer.getvalue()


FORMS = {
    ".tar": lambda members: tar_bytes(members),
    ".tar.gz": lambda members: tar_bytes(members, compressed=True),
    ".tgz": lambda members: tar_bytes(members, compressed=True),
    ".zip": zip_bytes,
}


@pytest.mark.parametrize("suffix", FORMS)
@pytest.mark.parametrize("more", [(), ("__MACOSX/._top",), (".DS_Store",)])
def test_a_single_folder_is_the_set_whatever_its_name(tmp_path, suffix, more):
    archive = tmp_path / f"pack{suffix}"
    archive.write_bytes(FORMS[suffix]([*TREE, *((name, b"x") for name in more)]))
    unpack(archive, tmp_path / "set")
    folders = ["train", "train/a", "train/a/1.txt", "val", "val/a", "val/a/2.txt"]
    assert names(tmp_path / "set") == folders
    assert (tmp_path / "set/val/a/2.txt").read_bytes() == TREE[1][1]
    assert sorted(path.name for path in tmp_path.iterdir()) == [archive.name, "set"]


def test_several_folders_are_the_set_together(tmp_path):
    (tmp_path / "pack.tar").write_bytes(tar_bytes([("train/1.txt", b"1"), ("val/2.txt", b"2")]))
    unpack(tmp_path / "pack.tar", tmp_path / "set")
    assert names(tmp_path / "set") == ["train", "train/1.txt", "val", "val/2.txt"]


@pytest.mark.parametrize("suffix", FORMS)
def test_a_cut_archive_is_never_unpacked_in_part(tmp_path, suffix):
    """At every tenth of it, at the ends of members, and near the end."""
    whole = FORMS[suffix](TREE)
    archive, folder = tmp_path / f"pack{suffix}", tmp_path / "set"
    lengths = {len(whole) * tenth // 10 for tenth in range(10)} | {len(whole) - 1, len(whole) - 6}
    if suffix == ".tar":
        # Some 20 blocks of zeros follow the end that the format asks for, and are not missed.
        lengths = {length for length in lengths if length < 8000} | {512 * n for n in range(15)}
    for length in lengths:
        archive.write_bytes(whole[:length])
        with pytest.raises(DataError, match=f"pack{suffix}: cut, damaged"):
            unpack(archive, folder)
        assert names(tmp_path) == [archive.name], length
    archive.write_bytes(whole)
    unpack(archive, folder)


@pytest.mark.parametrize("suffix", [".tgz", ".zip"])
def test_a_flipped_bit_is_found(tmp_path, suffix):
    whole = bytearray(FORMS[suffix](TREE))
    archive = tmp_path / f"pack{suffix}"
    # A .tgz ends with its checksum and length; the data of a zip's first file follow its header.
    whole[-7 if suffix == ".tgz" else 50] ^= 4
    archive.write_bytes(whole)
    with pytest.raises(DataError, match="cut, damaged"):
        unpack(archive, tmp_path / "set")
    assert names(tmp_path) == [archive.name]


PAX = {
    "a time that is none": {"mtime": "nan"},
    "a time without end": {"mtime": "inf"},
    "a NUL in a name": {"path": "a\0b"},
    "a size that is none": {"GNU.sparse.realsize": "x"},
}


@pytest.mark.faults("damaged archive")
@pytest.mark.parametrize("fault", PAX)
def test_a_pax_header_that_makes_no_sense_is_damage(tmp_path, fault):
    info = tarfile.TarInfo("a/1.txt")
    info.pax_headers = PAX[fault]
    (tmp_path / "pack.tar").write_bytes(tar_bytes([info, ("b/1.txt", b"1")]))
    with pytest.raises(DataError, match=r"pack\.tar: cut, damaged"):
        unpack(tmp_path / "pack.tar", tmp_path / "set")
    assert names(tmp_path) == ["pack.tar"]
    with pytest.raises(DataError, match=r"pack\.tar: MD5 .* is cut or damaged"):
        read_tar(tmp_path / "pack.tar", md5="0" * 32)


@pytest.mark.faults("damaged archive")
@pytest.mark.parametrize("part", ["data", "name"])
@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_zip_is_damaged_however_it_is_packed(tmp_path, method, part):
    archive = tmp_path / "pack.zip"
    with zipfile.ZipFile(archive, "w", method) as file:
        for name, content in TREE:
            file.writestr(name.replace("top", "t\xf6p"), content)
    whole = bytearray(archive.read_bytes())
    # The data of the first file follow its header of 30 bytes, and its name twice is in UTF-8.
    at = 30 + len("t\xf6p/train/a/1.txt".encode()) if part == "data" else whole.rindex(b"\xc3")
    whole[at : at + 16] = b"\xff" * 16
    archive.write_bytes(whole)
    with pytest.raises(DataError, match=r"pack\.zip: cut, damaged") as caught:
        unpack(archive, tmp_path / "set")
    assert len(str(caught.value)) < 1000 and names(tmp_path) == ["pack.zip"]


def link(name: str, target: str, kind: bytes = tarfile.SYMTYPE) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


ATTACKS = {
    "above": [("../escaped.txt", b"x")],
    "above, from within": [("a/../../escaped.txt", b"x")],
    "absolute": [("/OUTSIDE/escaped.txt", b"x")],
    "symlink out": [link("a", "/OUTSIDE"), ("a/escaped.txt", b"x")],
    "symlink within": [("b/1.txt", b"1"), link("a", "b")],
    "hard link out": [link("a", "../secret.txt", tarfile.LNKTYPE)],
    "device": [link("a", "", tarfile.CHRTYPE)],
    "pipe": [link("a", "", tarfile.FIFOTYPE)],
}


@pytest.mark.faults("hostile archive")
@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("compressed", [False, True])
def test_a_tar_writes_nothing_outside(tmp_path, attack, compressed):
    outside = tmp_path / "outside"
    outside.mkdir()
    members = []
    for member in ATTACKS[attack]:
        if isinstance(member, tarfile.TarInfo):
            member = link(
                member.name, member.linkname.replace("/OUTSIDE", str(outside)), member.type
            )
        else:
            member = (member[0].replace("/OUTSIDE", str(outside)), member[1])
        members.append(member)
    archive = tmp_path / ("pack.tgz" if compressed else "pack.tar")
    archive.write_bytes(tar_bytes([("ok/1.txt", b"1"), *members], compressed=compressed))
    with pytest.raises(DataError, match="refused"):
        unpack(archive, tmp_path / "deep" / "set")
    assert names(tmp_path) == sorted(["deep", "outside", archive.name])


@pytest.mark.faults("hostile archive")
@pytest.mark.parametrize(
    ("name", "mode"),
    [
        ("../escaped.txt", 0),
        ("a/../../escaped.txt", 0),
        ("/tmp/escaped.txt", 0),
        ("..\\escaped.txt", 0),
        ("a", stat.S_IFLNK | 0o777),
        ("a", stat.S_IFIFO | 0o666),
    ],
)
def test_a_zip_writes_nothing_outside(tmp_path, name, mode):
    archive = tmp_path / "pack.zip"
    archive.write_bytes(zip_bytes([("ok/1.txt", b"1"), (name, b"/etc")], mode))
    with pytest.raises(DataError, match="refused"):
        unpack(archive, tmp_path / "deep" / "set")
    assert names(tmp_path) == ["deep", "pack.zip"]


@pytest.mark.faults("hostile archive")
@pytest.mark.parametrize("suffix", [".tgz", ".zip"])
def test_a_bomb_is_refused_before_it_fills_the_disk(tmp_path, suffix, monkeypatch):
    monkeypatch.setattr(unpack_module, "ALWAYS_ALLOWED_BYTES", 1 << 20)
    members = [(f"a/{number}.png", bytes(1 << 19)) for number in range(8)]
    archive = tmp_path / f"pack{suffix}"
    archive.write_bytes(tar_bytes(members, compressed=True))
    if suffix == ".zip":
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
            for name, content in members:
                file.writestr(name, content)
    with pytest.raises(DataError, match=f"pack{suffix}: refused: it unpacks to more than 1,048,5"):
        unpack(archive, tmp_path / "set")
    assert names(tmp_path) == [archive.name]


def many(tmp_path, suffix: str, count: int):
    archive = tmp_path / f"many{suffix}"
    archive.write_bytes(FORMS[suffix]([(f"{number}.png", b"") for number in range(count)]))
    return archive


@pytest.mark.faults("hostile archive")
@pytest.mark.parametrize("suffix", [".tgz", ".zip"])
def test_empty_files_are_not_free(tmp_path, suffix, monkeypatch):
    monkeypatch.setattr(unpack_module, "ALWAYS_ALLOWED_MEMBERS", 50)
    monkeypatch.setattr(unpack_module, "MOST_GROWTH", 10)
    with pytest.raises(DataError, match=f"many{suffix}: refused: it holds more than .* files"):
        unpack(many(tmp_path, suffix, 2000), tmp_path / "set")
    assert names(tmp_path) == [f"many{suffix}"]
    unpack(many(tmp_path, suffix, 50), tmp_path / "set")
    assert len(names(tmp_path / "set")) == 50


def test_the_budget_is_above_any_set_of_images(tmp_path):
    """1,281,167 of 100 kB as in ImageNet, and 70,000 of 300 bytes as in MNIST."""
    for count, size in ((1_281_167, 100_000), (70_000, 300)):
        archive = tmp_path / "pack.tar"
        with archive.open("wb") as file:
            file.truncate(count * size)
        budget = unpack_module._Budget(archive)
        for _ in range(count):
            budget.take(size)


@pytest.mark.faults("hostile archive")
@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME])
def test_a_header_that_would_fill_the_memory_is_not_read(tmp_path, kind):
    """64 MB of zeros are 64 kB in an archive, and tarfile would hold them three times."""
    header = tarfile.TarInfo("a")
    header.type, header.size = kind, 64 << 20
    archive = tmp_path / "pack.tgz"
    with gzip.open(archive, "wb") as file:
        file.write(header.tobuf(tarfile.USTAR_FORMAT) + bytes(header.size) + bytes(1024))
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match="refused: a header of 67,108,864 bytes"):
            unpack(archive, tmp_path / "set")
        assert tracemalloc.get_traced_memory()[1] < 16 << 20
    finally:
        tracemalloc.stop()
    assert names(tmp_path) == [archive.name]


HOLES = {
    "gnu": {},
    "pax 0.0": {"GNU.sparse.size": "9", "GNU.sparse.numblocks": "1"},
    "pax 0.1": {"GNU.sparse.map": "0,9", "GNU.sparse.size": "9"},
    "pax 0.1, no map": {"GNU.sparse.map": "nothing"},
    "pax 1.0": {"GNU.sparse.major": "1", "GNU.sparse.minor": "0"},
}


@pytest.mark.faults("hostile archive")
@pytest.mark.parametrize("form", HOLES)
def test_the_map_of_a_file_with_holes_is_not_read(tmp_path, form):
    """A map of millions of holes packs well, and tarfile would hold each of them."""
    header = tarfile.TarInfo("a")
    if form == "gnu":
        header.type = tarfile.GNUTYPE_SPARSE
    header.pax_headers = HOLES[form]
    content = b"8000000\n" + b"0\n" * 16_000_000
    header.size = len(content)
    archive = tmp_path / "pack.tgz"
    with gzip.open(archive, "wb", compresslevel=1) as file:
        file.write(header.tobuf(tarfile.PAX_FORMAT) + content + bytes(1024))
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match="refused: a file with holes"):
            unpack(archive, tmp_path / "set")
        assert tracemalloc.get_traced_memory()[1] < 16 << 20
    finally:
        tracemalloc.stop()
    assert names(tmp_path) == [archive.name]


def test_set_user_id_is_not_kept(tmp_path):
    info = tarfile.TarInfo("a/run")
    info.mode = 0o4777
    archive = tmp_path / "pack.tar"
    archive.write_bytes(tar_bytes([info, ("b/1.txt", b"1")]))
    unpack(archive, tmp_path / "set")
    assert (tmp_path / "set" / "a" / "run").stat().st_mode & 0o7022 == 0


def test_other_files_are_no_archives(tmp_path):
    (tmp_path / "pack.rar").write_bytes(b"Rar!")
    with pytest.raises(DataError, match=r"not one of \.tar"):
        unpack(tmp_path / "pack.rar", tmp_path / "set")
    (tmp_path / "pack.zip").write_bytes(b"<html>")
    with pytest.raises(DataError, match="not a zip file"):
        unpack(tmp_path / "pack.zip", tmp_path / "set")
