"""dvc.lock as text: what is put together is what DVC's serializer would write."""

import random
from pathlib import Path

import pytest
from dvc.utils.serialize import dumps_yaml, parse_yaml_for_update

from pipelines.lock_file import HEAD, LockFile, check_lock, entries_of, in_order, text_of
from t2t.errors import ConfigError
from tests.flows.stubs import Stub, stub_stages

ROOT = Path(__file__).resolve().parents[2]


def test_the_projects_own_lock_survives_being_taken_apart():
    text = (ROOT / "dvc.lock").read_text()
    entries = entries_of(text)
    assert text_of(entries) == text
    assert list(entries) == list(parse_yaml_for_update(text, "dvc.lock")["stages"])


def test_any_order_is_what_the_serializer_writes():
    entries = entries_of((ROOT / "dvc.lock").read_text())
    names = random.Random(0).sample(list(entries), 8)
    text = text_of({name: entries[name] for name in names})
    assert dumps_yaml(parse_yaml_for_update(text, "dvc.lock")) == text


def test_order():
    entries = dict.fromkeys("dcbax", "")
    assert in_order(entries, ["b", "gone"], ["a", "b", "c", "d"]) == ["b", "a", "c", "d", "x"]


def test_taking_an_entry_leaves_the_others_alone(tmp_path):
    lock = LockFile(tmp_path)
    assert lock.entries() == {}
    lock.take({})
    assert not (tmp_path / "dvc.lock").exists()
    lock.take({"a@x": "  a@x:\n    cmd: one\n", "b": "  b:\n    cmd: two\n"})
    lock.take({"a@x": "  a@x:\n    cmd: three\n"})
    expected = "schema: '2.0'\nstages:\n  a@x:\n    cmd: three\n  b:\n    cmd: two\n"
    assert (tmp_path / "dvc.lock").read_text() == expected


@pytest.mark.parametrize(
    "text", ["stages:\n", "schema: '2.0'\nstages:\n", "schema: '1.0'\nstages:\n  a:\n", "x"]
)
def test_a_foreign_file_is_refused_and_an_empty_one_is_empty(text, tmp_path):
    (tmp_path / "dvc.lock").write_text(text)
    if text == "schema: '2.0'\nstages:\n":
        assert LockFile(tmp_path).entries() == {}
    else:
        with pytest.raises(ConfigError, match="run `dvc repro` once"):
            LockFile(tmp_path).entries()


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    return Stub.created(tmp_path_factory.mktemp("lock") / "stub", stub_stages(1))


@pytest.mark.parametrize("text", [None, HEAD + "  a:\n    cmd: one\n", "schema: '2.0'\n"])
def test_a_lock_that_dvc_can_read_is_left_alone(text, repository):
    path = repository.folder / "dvc.lock"
    path.unlink(missing_ok=True)
    if text is not None:
        path.write_text(text)
    assert check_lock(repository.folder) == ""
    assert (path.read_text() if path.exists() else None) == text


@pytest.mark.parametrize("left", [b"", b"\n", bytes(4096)])
def test_an_empty_lock_that_git_does_not_have_is_deleted(left, repository):
    """As a full disk or a power cut leaves it; every command of DVC would fail at it."""
    path = repository.folder / "dvc.lock"
    path.write_bytes(left)
    assert "dvc.lock was empty" in check_lock(repository.folder)
    assert not path.exists()


DAMAGED = [
    (HEAD + "  a:\n    cmd: one\n    de").encode(),
    (HEAD + "  a:\n<<<<<<< HEAD\n    cmd: one\n").encode(),
    (HEAD + "  a\n").encode(),
    HEAD.encode(),
    b"stages:\n  a:\n    cmd: one\n",
    (HEAD + "  a: {}\n").encode(),
    b"\xff\xfe",
]


@pytest.mark.parametrize("left", DAMAGED)
def test_a_damaged_lock_is_told(left, repository):
    path = repository.folder / "dvc.lock"
    path.write_bytes(left)
    with pytest.raises(ConfigError, match=r"dvc\.lock is damaged: .*git has none; delete it"):
        check_lock(repository.folder)
    assert path.read_bytes() == left


def test_a_lock_that_git_has_is_brought_back_by_what_is_said(tmp_path):
    stub = Stub.created(tmp_path / "stub", stub_stages(1))
    path = stub.folder / "dvc.lock"
    text = HEAD + "  a:\n    cmd: one\n"
    path.write_text(text)
    stub.commit()
    for left in (b"", *DAMAGED):
        path.write_bytes(left)
        with pytest.raises(ConfigError, match=r"dvc\.lock is .*; `git checkout dvc\.lock`"):
            check_lock(stub.folder)
        stub.run("git", "checkout", "dvc.lock")
        assert check_lock(stub.folder) == "" and path.read_text() == text
