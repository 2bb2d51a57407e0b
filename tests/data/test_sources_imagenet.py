"""ImageNet from its official files, made small of real photographs: every form gives one set."""

import gzip
import hashlib
import io
import pickle
import tarfile

import numpy as np
import pytest
from scipy.io import savemat

from t2t.data.sources import Roots, load_source, open_prepared, prepare
from t2t.data.sources.adapters.imagenet import Release, ilsvrc2012
from t2t.data.sources.devkit import validation_wnids
from t2t.errors import DataError

CLASSES, VAL = 6, 9
NAMES = {part: f"ILSVRC2012_{part}.tar" for part in ("img_train", "img_val")}
DEVKIT = "ILSVRC2012_devkit_t12.tar.gz"


def tar_of(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def meta_mat(wnids) -> bytes:
    """Synsets in an order of their own, and two above them that are no classes."""
    dtype = [("ILSVRC2012_ID", object), ("WNID", object), ("words", object), ("gloss", object)]
    dtype += [("num_children", object), ("children", object), ("wordnet_height", object)]
    dtype += [("num_train_images", object)]
    order = list(reversed(wnids))
    rows = [(n + 1, wnid, "a, b", "g", 0, [], 0, 3) for n, wnid in enumerate(order)]
    rows += [(len(wnids) + n, f"n9999999{n}", "c", "g", 2, [1, 2], 1, 0) for n in (1, 2)]
    buffer = io.BytesIO()
    savemat(buffer, {"synsets": np.array(rows, dtype).reshape(-1, 1)})
    return buffer.getvalue()


class Official:
    """The set's content, its official files, and what it is as unpacked."""

    def __init__(self, photos):
        folders = sorted((photos / "imagenet_1000x1_160px").iterdir())[:: 1000 // CLASSES][:CLASSES]
        self.wnids = [folder.name for folder in folders]
        images = [next(folder.iterdir()).read_bytes() for folder in folders]
        # One more byte behind a JPEG's end makes another file of the same picture.
        self.train = {
            f"{wnid}/{wnid}_{10 - n}.JPEG": image + bytes(n)
            for wnid, image in zip(self.wnids, images, strict=True)
            for n in range(2)
        }
        truth = [*range(CLASSES), *range(VAL - CLASSES)][::-1]
        self.val = {
            f"ILSVRC2012_val_{n:08d}.JPEG": (label, images[label] + bytes(n))
            for n, label in enumerate(truth, 1)
        }
        self.devkit = {
            "ILSVRC2012_devkit_t12/readme.txt": b"x",
            "ILSVRC2012_devkit_t12/data/meta.mat": meta_mat(self.wnids),
            "ILSVRC2012_devkit_t12/data/ILSVRC2012_validation_ground_truth.txt": "".join(
                f"{CLASSES - label}\n" for label in truth
            ).encode(),
        }
        self.files = self._archives()
        md5 = {name: hashlib.md5(content).hexdigest() for name, content in self.files.items()}
        parts = {"train": NAMES["img_train"], "val": NAMES["img_val"], "devkit": DEVKIT}
        archives = {part: (name, md5[name]) for part, name in parts.items()}
        images_of = {"train": len(self.train), "val": VAL}
        self.release = Release(archives, images_of, CLASSES)

    def _archives(self) -> dict[str, bytes]:
        inner = {
            f"{wnid}.tar": tar_of(
                {
                    name.partition("/")[2]: image
                    for name, image in self.train.items()
                    if name.startswith(wnid)
                }
            )
            for wnid in reversed(self.wnids)
        }
        val = {name: self.val[name][1] for name in reversed(self.val)}
        return {
            NAMES["img_train"]: tar_of(inner),
            NAMES["img_val"]: tar_of(val),
            DEVKIT: gzip.compress(tar_of(self.devkit), mtime=0),
        }

    def lay(self, root, form: str) -> Roots:
        """Puts the set below `root`/imagenet in a form that people have."""
        folder = root / "imagenet"
        files: dict[str, bytes] = {}
        if form == "archives":
            files |= self.files
        else:
            files |= {f"train/{name}": image for name, image in self.train.items()}
        for name, (label, image) in self.val.items():
            if form == "class folders":
                files[f"val/{self.wnids[label]}/{name}"] = image
            elif form.startswith("flat"):
                files[f"val/{name}"] = image
        if form == "flat, devkit unpacked":
            files |= self.devkit
        elif form == "flat":
            files[DEVKIT] = self.files[DEVKIT]
        for name, content in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)
        return Roots(shared=root)

    def load(self, roots):
        return load_source("imagenet", roots=roots, release=self.release)


FORMS = ["archives", "class folders", "flat", "flat, devkit unpacked"]


@pytest.fixture(scope="module")
def official(photos):
    return Official(photos)


def rows(split) -> list[tuple[bytes, int]]:
    return [(image.fp.getvalue(), label) for image, label in (split[n] for n in range(len(split)))]


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same_images_in_the_same_order(official, tmp_path, form):
    source = official.load(official.lay(tmp_path, form))
    assert source.classes == tuple(official.wnids)
    by_name = sorted(official.train.items())
    label_of = {wnid: label for label, wnid in enumerate(official.wnids)}
    assert rows(source.split("train")) == [
        (image, label_of[name.partition("/")[0]]) for name, image in by_name
    ]
    assert rows(source.split("val")) == [
        (image, label) for _, (label, image) in sorted(official.val.items())
    ]


@pytest.mark.parametrize("form", FORMS)
def test_what_is_prepared_reads_back(official, tmp_path, form):
    roots = official.lay(tmp_path, form)
    given = {"roots": roots, "release": official.release}
    manifest = prepare("imagenet", tmp_path / "out", **given)
    again = open_prepared(tmp_path / "out", roots)
    for split in ("train", "val"):
        raw = official.load(roots).split(split)
        assert rows(pickle.loads(pickle.dumps(again.split(split)))) == rows(raw)
    in_tars = form == "archives"
    both = sum(image in official.train.values() for _, image in official.val.values())
    assert both == 1 and manifest["leaked_val_images"] == (None if in_tars else both)
    place = manifest["places"]["val"]
    assert place["md5"] == (official.release.archives["val"][1] if in_tars else None)
    assert set(manifest["counts"]["val"].values()) == {1, 2}
    assert len(list((tmp_path / "out").iterdir())) == 3


def test_images_are_read_out_of_the_archive_by_their_offset(official, tmp_path):
    roots = official.lay(tmp_path, "archives")
    split = official.load(roots).split("train")
    archive = tmp_path / "imagenet" / NAMES["img_train"]
    assert split.path_of(0) == f"{archive}/{official.wnids[0]}/{official.wnids[0]}_10.JPEG"
    prepare("imagenet", tmp_path / "out", roots=roots, release=official.release)
    archive.write_bytes(archive.read_bytes()[:-512])
    with pytest.raises(DataError, match=f"{archive}: .* bytes, .* when it was prepared"):
        open_prepared(tmp_path / "out", roots)
    archive.write_bytes(archive.read_bytes()[:1000])
    with pytest.raises(DataError, match="_10.JPEG: 0 bytes, .* when it was prepared"):
        split[len(split) - 1 - 1]
    archive.unlink()
    with pytest.raises(DataError, match=f"{archive}.*No such file"):
        split[0]


@pytest.mark.parametrize("name", [*NAMES.values(), DEVKIT])
@pytest.mark.parametrize("damage", ["cut", "flipped bit", "no tar"])
def test_a_damaged_archive_is_refused(official, tmp_path, name, damage):
    roots = official.lay(tmp_path, "archives")
    path = tmp_path / "imagenet" / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    changed = {"cut": content[: len(content) // 3], "no tar": b"<html>", "flipped bit": content}
    path.write_bytes(changed[damage])
    with pytest.raises(DataError, match=f"{path}: MD5 .*get it again"):
        official.load(roots)


@pytest.mark.parametrize(
    ("form", "missing", "message"),
    [
        ("archives", NAMES["img_train"], r"imagenet/ILSVRC2012_img_train.tar \(or, unpacked, im"),
        ("archives", NAMES["img_val"], "imagenet/ILSVRC2012_img_val.tar .* is not in .*image-net"),
        ("archives", DEVKIT, "imagenet/ILSVRC2012_devkit_t12.tar.gz is not in .*no labels"),
        ("flat", DEVKIT, "imagenet/ILSVRC2012_devkit_t12.tar.gz is not in .*no labels"),
        ("flat", "val/ILSVRC2012_val_00000009.JPEG", "imagenet: 8 val images, 9 officially"),
        ("class folders", "train/{wnid}/{wnid}_10.JPEG", "11 train images, 12 officially"),
    ],
)
def test_what_is_missing_is_named_with_its_place(official, tmp_path, form, missing, message):
    roots = official.lay(tmp_path, form)
    (tmp_path / "imagenet" / missing.format(wnid=official.wnids[3])).unlink()
    with pytest.raises(DataError, match=message):
        official.load(roots)


def test_other_classes_are_refused(official, tmp_path):
    roots = official.lay(tmp_path, "class folders")
    val = tmp_path / "imagenet" / "val"
    (val / official.wnids[0]).rename(val / "n00000001")
    with pytest.raises(DataError, match=f"1 only in train/: {official.wnids[0]}; 1 only in val/"):
        official.load(roots)
    fewer = Release(official.release.archives, official.release.images, CLASSES + 1)
    (val / "n00000001").rename(val / official.wnids[0])
    with pytest.raises(DataError, match="imagenet: 6 classes, 7 officially"):
        load_source("imagenet", roots=roots, release=fewer)


def test_what_is_no_image_is_counted(official, tmp_path):
    roots = official.lay(tmp_path, "flat")
    (tmp_path / "imagenet" / "val" / "notes.txt").touch()
    (tmp_path / "imagenet" / "train" / official.wnids[0] / "x.tmp").touch()
    assert official.load(roots).facts["ignored_files"] == {".tmp": 1, "not .JPEG": 1}
    (tmp_path / "imagenet" / "val" / "ILSVRC2012_val_00000010.JPEG").touch()
    with pytest.raises(DataError, match="00000010.JPEG: not one of the 9 validation images"):
        official.load(roots)


def test_the_release_is_the_one_of_2012(photos):
    release = ilsvrc2012()
    assert release.archives["devkit"][0] == DEVKIT
    assert {release.archives[part][0] for part in ("train", "val")} == set(NAMES.values())
    wnids = (photos / "imagenet_meta" / "imagenet_synsets.txt").read_text().split()
    truth = gzip.decompress((photos / "imagenet_meta" / "ilsvrc2012_val_wnids.txt.gz").read_bytes())
    assert release.classes == len(set(wnids)) == len(set(truth.split()))
    assert release.images["val"] == len(truth.split())


def test_all_validation_labels_come_out_of_a_devkit(photos, tmp_path):
    """The real ground truth of 50,000 images, as line numbers into real synsets."""
    folder = photos / "imagenet_meta"
    wnids = (folder / "imagenet_synsets.txt").read_text().split()
    truth = gzip.decompress((folder / "ilsvrc2012_val_wnids.txt.gz").read_bytes()).decode().split()
    number = {wnid: len(wnids) - label for label, wnid in enumerate(wnids)}
    lines = "".join(f"{number[wnid]}\n" for wnid in truth)
    data = tmp_path / "imagenet" / "ILSVRC2012_devkit_t12" / "data"
    data.mkdir(parents=True)
    (data / "meta.mat").write_bytes(meta_mat(wnids))
    (data / "ILSVRC2012_validation_ground_truth.txt").write_text(lines)
    assert validation_wnids(Roots(tmp_path), "imagenet", DEVKIT, "") == tuple(truth)
    (data / "ILSVRC2012_validation_ground_truth.txt").write_text("1\n1003\n")
    with pytest.raises(DataError, match="not the kit's"):
        validation_wnids(Roots(tmp_path), "imagenet", DEVKIT, "")
