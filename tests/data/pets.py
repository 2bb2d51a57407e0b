"""A small set of real photographs in class folders, right and with each kind of mistake."""

import os
import shutil

from t2t.data.sources import Roots, load_source


def lay_pets(photos, root):
    """Makes `root`/pets/{train,val}/<class>/: 14 and 6 images of 3 breeds; returns `root`."""
    for folder in sorted((photos / "pets_small").iterdir()):
        for number, file in enumerate(sorted(folder.iterdir())):
            split = "val" if number % 4 == 1 else "train"
            target = root / "pets" / split / folder.name / file.name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(file.read_bytes())
    return root


def pets(root, **parameters):
    return load_source("imagefolder", roots=Roots(root), **{"path": "pets"} | parameters)


def first(folder):
    return sorted(folder.rglob("*.jpg"))[0]


def pixels(split) -> list[tuple[bytes, int]]:
    rows = (split[index] for index in range(len(split)))
    return [(image.convert("RGB").tobytes(), label) for image, label in rows]


def spoil(pets_folder, fault: str) -> dict[str, str]:
    """Makes one mistake; returns other parameters where it is in these."""
    train, val = pets_folder / "train", pets_folder / "val"
    if fault == "class only in train":
        shutil.rmtree(val / "Bengal")
    elif fault == "class only in val":
        shutil.copytree(val / "Bengal", val / "Bombay")
    elif fault == "hidden folder":
        shutil.copytree(val / "Bengal", val / ".ipynb_checkpoints")
    elif fault == "one level too high":
        (pets_folder.parent / "wrapped").mkdir()
        pets_folder.rename(pets_folder.parent / "wrapped" / "pets")
        return {"path": "wrapped"}
    elif fault == "folder in a class":
        shutil.copytree(val / "Bengal", train / "Bengal" / "Bengal")
    elif fault == "empty class":
        (train / "Bombay").mkdir()
        (val / "Bombay").mkdir()
    elif fault == "one class":
        for name in ("Bengal", "Abyssinian"):
            shutil.rmtree(train / name)
            shutil.rmtree(val / name)
    elif fault == "empty root":
        shutil.rmtree(train)
        shutil.rmtree(val)
    elif fault == "no train":
        shutil.rmtree(train)
    elif fault == "no val":
        shutil.rmtree(val)
    elif fault == "tab in a name":
        first(train).rename(first(train).with_name("a\tb.jpg"))
    elif fault == "no UTF-8 in a name":
        os.rename(first(train), os.fsencode(train / "Bengal") + b"/\xff.jpg")
    elif fault == "link to nothing":
        (train / "Bengal" / "x.jpg").symlink_to("nowhere")
    elif fault == "absent":
        return {"path": "cats"}
    elif fault == "no archive":
        (pets_folder.parent / "pets.txt").write_text("x")
        return {"path": "pets.txt"}
    return {}
