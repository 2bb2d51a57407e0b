"""Raw images that change after they were prepared: told before anything is made of the old ones."""

import shutil
from pathlib import Path

import pytest
from PIL import Image

from pipelines import check
from pipelines.params.reader import Params
from pipelines.raw_changes import check_raw
from pipelines.stages import prepare
from t2t.errors import DataError

TEXT = (Path(__file__).resolve().parents[2] / "params.yaml").read_text()
DIGITS = "{source: digits, split_seed: 0, val_fraction: 0.2}"
ASIDE = ", val_fraction: 0.5, split_seed: 0"


def save(path: Path, size: int = 8) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (size, size)).save(path)


def save_all(folder: Path, count: int) -> None:
    for number in range(count):
        save(folder / f"{number}.png")


@pytest.fixture
def raw(tmp_path, monkeypatch) -> Path:
    """The set `own` in the downloads: two classes of three images."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("T2T_DATA_ROOT", raising=False)
    folder = tmp_path / "data" / "downloads" / "own"
    for name in ("cat", "dog"):
        save_all(folder / name, 3)
    return folder


def prepared(path: str, more: str = ASIDE) -> Params:
    Path("params.yaml").write_text(
        TEXT.replace(DIGITS, f"{{source: imagefolder, path: {path}{more}}}")
    )
    common = ["--scale", "digits", "--downloads", "data/downloads"]
    prepare.main([*common, "--out", "data/raw/digits"])
    params = Params(Path("params.yaml"))
    check_raw(params, "digits", Path())
    return params


CHANGES = {
    "image": (lambda raw: save(raw / "cat" / "3.png"), r"1 images are new, 0 .* \(cat/3.png\)"),
    "class": (
        lambda raw: save_all(raw / "cow", 2),
        r"2 images are new, 0 .* \(cow/0.png, \.\.\.\)",
    ),
    "gone": (lambda raw: (raw / "cat" / "1.png").unlink(), "0 images are new, 1 are gone"),
    "length": (lambda raw: save(raw / "dog" / "2.png", 80), r"and 1 of another length \(dog/2.png"),
    "renamed": (lambda raw: (raw / "cat").rename(raw / "cats"), "3 images are new, 3 are gone"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_folder_is_told_with_its_remedy(raw, change, capsys):
    params = prepared("own")
    do, told = CHANGES[change]
    do(raw)
    with pytest.raises(DataError, match=f"own: .*{told}.*; run `dvc repro -f prepare`"):
        check_raw(params, "digits", Path())
    assert check.main() == 3 and "dvc repro -f prepare" in capsys.readouterr().err
    prepared("own")
    assert check.main() == 0


def test_a_set_with_val_of_its_own(raw):
    for split in ("train", "val"):
        shutil.copytree(raw, raw.parent / "both" / split)
    params = prepared("both", "")
    (raw.parent / "both" / "notes.txt").touch()
    check_raw(params, "digits", Path())
    save(raw.parent / "both" / "val" / "dog" / "3.png")
    with pytest.raises(DataError, match=r"both: 1 images are new.* \(val/dog/3.png\)"):
        check_raw(params, "digits", Path())


def test_another_archive_in_its_place(raw):
    shutil.make_archive(str(raw), "zip", raw)
    params = prepared("own.zip")
    save(raw / "cat" / "3.png")
    shutil.make_archive(str(raw), "zip", raw)
    with pytest.raises(DataError, match=r"own\.zip: has .* bytes, no more .*dvc repro -f prepare`"):
        check_raw(params, "digits", Path())


@pytest.mark.parametrize("reason", ["raw files gone", "other path", "damaged", "not prepared"])
def test_nothing_is_said_where_another_would_say_it(raw, reason):
    params = prepared("own")
    save(raw / "cat" / "3.png")
    if reason == "raw files gone":
        shutil.rmtree(raw)
    elif reason == "other path":
        Path("params.yaml").write_text(
            Path("params.yaml").read_text().replace("path: own", "path: other")
        )
        params = Params(Path("params.yaml"))
    elif reason == "damaged":
        Path("data/raw/digits/manifest.json").write_text("{}")
    else:
        shutil.rmtree("data/raw/digits")
    check_raw(params, "digits", Path())


def test_a_downstream_set_is_looked_at_too(raw):
    text = TEXT.replace(
        "data: {source: digits, split_seed: 0, val_fraction: 0.2, quarter_turns: 1, "
        "train_per_class: 10}",
        f"data: {{source: imagefolder, path: own{ASIDE}}}",
    )
    Path("params.yaml").write_text(text)
    given = ["--scale", "digits", "--downstream", "cifar10", "--downloads", "data/downloads"]
    prepare.main([*given, "--out", "data/raw/digits.cifar10"])
    check_raw(Params(Path("params.yaml")), "digits", Path())
    save(raw / "cat" / "3.png")
    with pytest.raises(DataError, match="run `dvc repro -f prepare_downstream@cifar10`"):
        check_raw(Params(Path("params.yaml")), "digits", Path())
