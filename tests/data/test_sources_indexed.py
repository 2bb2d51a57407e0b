"""Sets of files as they are prepared: the index, and reading images through it."""

import json
import os
import pickle
import shutil
from dataclasses import replace

import numpy as np
import pytest
from PIL import EpsImagePlugin, Image

from t2t.analysis.photographs import photographs
from t2t.data.sources import Roots, open_prepared, prepare
from t2t.data.sources.class_folders import hashed
from t2t.data.sources.indexed import IMAGE_FORMATS, FileSplit, Place
from t2t.data.sources.source import leaked_images
from t2t.errors import DataError
from t2t.files import SEAL, json_text, sealed, sha256_file
from tests.data.pets import first, lay_pets, pets, pixels


@pytest.fixture
def small(photos, tmp_path):
    return lay_pets(photos, tmp_path / "downloads")


def test_prepared_holds_an_index_and_reads_back(small, tmp_path):
    (small / "pets" / "train" / "Bengal" / "notes.TXT").write_text("x")
    (small / "pets" / "train" / "Bengal" / ".DS_Store").write_text("x")
    (small / "pets" / "val" / "sizes").write_text("x")
    copied = small / "pets" / "val" / "Bengal" / "again.jpg"
    shutil.copy(first(small / "pets" / "train" / "Bengal"), copied)
    manifest = prepare("imagefolder", tmp_path / "out", roots=Roots(small), path="pets")
    files = {path.name for path in (tmp_path / "out").iterdir()}
    assert files == {"manifest.json", "train.tsv", "val.tsv"}
    assert manifest == json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["ignored_files"] == {".txt": 1, "hidden": 1, "no extension": 1}
    assert manifest["leaked_val_images"] == 1
    assert manifest["counts"]["train"] == {"Abyssinian": 7, "Bengal": 5, "american_bulldog": 2}
    assert manifest["counts"]["val"] == {"Abyssinian": 3, "Bengal": 3, "american_bulldog": 1}
    assert str(tmp_path) not in "".join(p.read_text() for p in (tmp_path / "out").iterdir())
    raw, again = pets(small), open_prepared(tmp_path / "out", Roots(small))
    assert (again.fingerprint, again.classes) == (raw.fingerprint, raw.classes)
    for split in ("train", "val"):
        assert pixels(again.split(split)) == pixels(raw.split(split))
        assert pixels(pickle.loads(pickle.dumps(again.split(split)))) == pixels(raw.split(split))


def test_bytes_do_not_depend_on_where_the_set_lies(small, tmp_path):
    shutil.copytree(small, tmp_path / "elsewhere")
    prepare("imagefolder", tmp_path / "a", roots=Roots(small), path="pets")
    other = Roots(downloads=small, shared=tmp_path / "elsewhere")
    prepare("imagefolder", tmp_path / "b", roots=other, path="pets")
    for file in (tmp_path / "a").iterdir():
        assert file.read_bytes() == (tmp_path / "b" / file.name).read_bytes()
    opened = open_prepared(tmp_path / "a", other).split("val")
    assert opened.path_of(0).startswith(str(tmp_path / "elsewhere"))


def test_fingerprint_covers_content_names_and_labels(small):
    prints = [pets(small).fingerprint]
    file = first(small / "pets" / "train")
    content = bytearray(file.read_bytes())
    content[-3] ^= 1
    file.write_bytes(content)
    prints.append(pets(small).fingerprint)
    file.rename(file.with_name("renamed.jpg"))
    prints.append(pets(small).fingerprint)
    file.with_name("renamed.jpg").rename(small / "pets" / "train" / "Bengal" / "renamed.jpg")
    prints.append(pets(small).fingerprint)
    assert len(set(prints)) == 4


def test_beyond_a_size_names_and_lengths_stand_for_the_content(small, tmp_path):
    splits = {name: pets(small).split(name) for name in ("train", "val")}
    unhashed = {name: replace(split, sha256=None) for name, split in splits.items()}
    total = sum(int(split.sizes.sum()) for split in splits.values())
    assert hashed(unhashed, up_to_bytes=total - 1)["val"].sha256 is None
    assert hashed(unhashed, up_to_bytes=total)["val"].sha256 == splits["val"].sha256
    assert leaked_images(unhashed["train"], unhashed["val"]) is None
    assert leaked_images(splits["train"], splits["val"]) == 0


@pytest.mark.parametrize("fault", ["gone", "shorter", "all gone", "index", "other columns"])
def test_open_prepared_names_what_is_not_as_it_was(small, tmp_path, fault):
    prepare("imagefolder", tmp_path / "out", roots=Roots(small), path="pets")
    file = first(small / "pets" / "val")
    index = tmp_path / "out" / "val.tsv"
    if fault == "gone":
        file.unlink()
    elif fault == "shorter":
        file.write_bytes(file.read_bytes()[:-1])
    elif fault == "all gone":
        shutil.rmtree(small / "pets")
    else:
        index.write_bytes(index.read_bytes().replace(b"\tname", b"\tother"))
    if fault == "other columns":
        manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
        manifest["files"]["val.tsv"] = sha256_file(index)
        del manifest[SEAL]
        (tmp_path / "out" / "manifest.json").write_text(json_text(sealed(manifest)))
    message = {
        "gone": f"{file}: No such file.*bring it back, or prepare the data again by force",
        "shorter": f"{file}: .* bytes, .* when it was prepared",
        "all gone": f"pets: not in {small}; bring it back",
        "index": f"{index}: damaged",
        "other columns": f"{index}: no index of images .*'name'",
    }[fault]
    with pytest.raises(DataError, match=message):
        open_prepared(tmp_path / "out", Roots(small))


CHANGES = {
    "count": lambda m: m["counts"]["train"].update(Bengal=6),
    "counts": lambda m: m.update(counts=None),
    "leaked": lambda m: m.update(leaked_val_images=1),
    "place's key": lambda m: m["places"]["val"].update(size=1),
    "place": lambda m: m["places"].pop("val"),
    "files": lambda m: m.update(files=[]),
    "classes": lambda m: m.pop("classes"),
    "seal": lambda m: m.pop(SEAL),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_manifest_that_was_changed_is_not_believed(small, tmp_path, change):
    prepare("imagefolder", tmp_path / "out", roots=Roots(small), path="pets")
    path = tmp_path / "out" / "manifest.json"
    manifest = json.loads(path.read_text())
    CHANGES[change](manifest)
    path.write_text(json_text(manifest))
    with pytest.raises(DataError, match=f"{path}: damaged, {SEAL} is not its content's"):
        open_prepared(tmp_path / "out", Roots(small))


def test_an_image_is_checked_when_it_is_read(small, tmp_path):
    source = pets(small)
    file, split = first(small / "pets" / "val"), source.split("val")
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    with pytest.raises(DataError, match=f"{file}: changed since it was prepared"):
        split[0]
    file.write_bytes(content[:-1])
    with pytest.raises(DataError, match=f"{file}: .* bytes, .* when it was prepared"):
        split[0]
    file.unlink()
    with pytest.raises(DataError, match=f"{file}: No such file"):
        split[0]
    file.write_text("<html>")
    with pytest.raises(DataError, match=f"{file}: no image in one of JPEG, PNG"):
        pets(small).split("val")[0]


EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\nshowpage\n%%EOF\n"


@pytest.fixture
def ghostscript(tmp_path, monkeypatch):
    """The mark that a stand-in for Ghostscript leaves when it is run."""
    stub, mark = tmp_path / "bin" / "gs", tmp_path / "run"
    stub.parent.mkdir()
    stub.write_text(f"#!/bin/sh\ntouch {mark}\n")
    stub.chmod(0o755)
    monkeypatch.setenv("PATH", f"{stub.parent}:{os.environ['PATH']}")
    monkeypatch.setattr(EpsImagePlugin, "gs_binary", None)
    return mark


def test_no_file_is_handed_to_another_program(tmp_path, ghostscript):
    """Pillow knows files by their content, and runs Ghostscript for PostScript."""
    file = tmp_path / "set" / "cat" / "e.png"
    file.parent.mkdir(parents=True)
    file.write_bytes(EPS)
    split = FileSplit(
        tmp_path, Place("set"), np.zeros(1, int), np.array([len(EPS)]), ("cat/e.png",)
    )
    with pytest.raises(DataError, match=r"e\.png: no image in one of JPEG, PNG"):
        split[0][0].load()
    with pytest.raises(DataError, match=r"e\.png: no readable image in one of JPEG, PNG"):
        photographs([file], 8)
    assert not ghostscript.exists()
    with pytest.raises(OSError), Image.open(file) as image:
        image.load()
    assert ghostscript.exists(), "the stand-in is not what Pillow would run"


def test_every_format_that_a_class_folder_may_hold_is_read(tmp_path):
    picture = Image.new("RGB", (8, 8), (200, 10, 10))
    kinds = {*IMAGE_FORMATS, "MPO"}
    for kind in kinds:
        more = {"save_all": True, "append_images": [picture]} if kind == "MPO" else {}
        picture.save(tmp_path / f"{kind}.png", kind, **more)
        size = (tmp_path / f"{kind}.png").stat().st_size
        split = FileSplit(
            tmp_path, Place("."), np.zeros(1, int), np.array([size]), (f"{kind}.png",)
        )
        assert (
            np.abs(np.subtract(split[0][0].convert("RGB").getpixel((4, 4)), (200, 10, 10))).max()
            < 9
        )
