"""dvc.lock as text: what is put together is what DVC's serializer would write."""

import random
from pathlib import Path

import pytest
from dvc.utils.serialize import dumps_yaml, parse_yaml_for_update

from pipelines.lock_file import LockFile, entries_of, in_order, text_of
from t2t.errors import ConfigError

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
