"""The pictures: what stands where in them, their size, their bytes, their words."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from t2t.analysis.gallery import write_gallery
from t2t.analysis.look import Look, look_inside
from t2t.analysis.photographs import as_batch, photographs
from t2t.analysis.pictures import Panel, draw, write_png
from t2t.data.augment import IMAGENET_MEAN, IMAGENET_STD
from t2t.errors import DataError
from t2t.models import create

MAX_BYTES = 60_000
RED, BLUE, WHITE = (103, 0, 31), (5, 48, 97), (247, 247, 247)


def panel(maps, low=-1.0, high=1.0):
    images = np.full((len(maps), 32, 32, 3), 200, np.uint8)
    labels = [f"ch {index}" for index in range(maps.shape[1])]
    return Panel(images, maps, labels, "RdBu_r", low, high)


def pixel(picture, column, line, x, y, cell=80):
    """The colour in a cell, x and y in pixels from its upper left corner."""
    return picture.getpixel((column * (cell + 4) + x, 23 + line * (cell + 4) + y))[:3]


def test_values_are_colours_where_they_stand():
    maps = np.zeros((2, 3, 2, 2), np.float32)
    maps[1, 2] = [[1, -1], [0, 7]]
    picture = draw(panel(maps))
    assert picture.size == (4 * 84 - 4, 2 * 23 + 2 * 84)
    assert pixel(picture, 0, 1, 40, 40) == (200, 200, 200)
    corners = {(5, 5): RED, (75, 5): BLUE, (5, 75): WHITE, (75, 75): RED}
    for (x, y), colour in corners.items():
        assert np.abs(np.subtract(pixel(picture, 3, 1, x, y), colour)).max() <= 2
    assert np.abs(np.subtract(pixel(picture, 2, 1, 5, 5), WHITE)).max() <= 2


def test_the_ground_is_transparent_and_labels_can_be_read_on_light_and_dark():
    maps = np.zeros((1, 2, 2, 2), np.float32)
    pixels = np.asarray(draw(panel(maps)))
    assert pixels[23:103, 80:84, 3].max() == 0
    header = pixels[:23]
    ink = header[header[..., 3] > 250][:, :3]
    assert len(ink) > 50

    def luminance(colour):
        part = np.asarray(colour) / 255
        linear = np.where(part <= 0.04045, part / 12.92, ((part + 0.055) / 1.055) ** 2.4)
        return linear @ [0.2126, 0.7152, 0.0722]

    for ground in ((255, 255, 255), (20, 23, 27)):
        low, high = sorted([luminance(np.median(ink, axis=0)), luminance(ground)])
        assert (high + 0.05) / (low + 0.05) > 4


def test_a_map_of_one_value_and_a_scale_of_no_width_are_drawn():
    maps = np.zeros((1, 1, 3, 2), np.float32)
    assert draw(panel(maps, 0.0, 0.0)).width > 0


def test_bytes_are_the_same_and_hold_nothing_but_pixels(tmp_path):
    maps = np.random.default_rng(0).normal(size=(2, 3, 4, 4)).astype(np.float32)
    for name in ("a.png", "b.png"):
        write_png(draw(panel(maps)), tmp_path / name)
    content = (tmp_path / "a.png").read_bytes()
    assert content == (tmp_path / "b.png").read_bytes()
    for chunk in (b"tEXt", b"zTXt", b"iTXt", b"tIME", b"eXIf"):
        assert chunk not in content
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "b.png"]


@pytest.fixture(scope="module")
def gallery(photos, tmp_path_factory):
    """Pictures of three photographs in an untrained T2T-ViT-14 at 224 pixels."""
    paths = sorted((photos / "imagenet_1000x1_160px").glob("*/*"))[100:1000:400]
    torch.manual_seed(0)
    model = create("t2t_vit_14")
    pixels = photographs(paths, 224)
    folder = tmp_path_factory.mktemp("gallery")
    look = look_inside(model, as_batch(pixels))
    return look, pixels, folder, write_gallery(look, pixels, folder, "T2T-ViT-14")


def test_pictures_of_photographs_are_small_and_listed_with_words(gallery):
    _, _, folder, _ = gallery
    entries = json.loads((folder / "images.json").read_text())
    names = [f"tokens_{step}" for step in (1, 2, 3)]
    names += [f"{kind}_{block}" for kind in ("features", "attention") for block in (4, 5, 14)]
    assert [entry["file"] for entry in entries] == [f"{name}.png" for name in names]
    assert {path.name for path in folder.iterdir()} == {
        *(e["file"] for e in entries),
        "images.json",
    }
    for entry in entries:
        assert (folder / entry["file"]).stat().st_size < MAX_BYTES
        assert "T2T-ViT-14" in entry["title"] and entry["alt"].startswith(entry["title"])
        with Image.open(folder / entry["file"]) as picture:
            assert picture.convert("RGBA").getchannel("A").getextrema() == (0, 255)


def test_channels_are_shown_from_the_weakest_to_the_strongest(gallery):
    look, _, _, shown = gallery
    sizes = look.features[4].square().mean((0, 2, 3)).sqrt()
    (picture,) = [each for each in shown if each.file == "features_4.png"]
    channels = [int(label.removeprefix("ch ")) - 1 for label in picture.panel.labels]
    assert len(channels) == 8
    assert (channels[0], channels[-1]) == (sizes.argmin().item(), sizes.argmax().item())
    assert sizes[channels].diff().min() > 0
    assert picture.panel.high == pytest.approx(3 * sizes.median().item())
    np.testing.assert_array_equal(picture.panel.maps, look.features[4][:, channels].numpy())


def test_of_many_heads_some_are_shown_under_their_own_numbers(tmp_path):
    attention = torch.rand(2, 32, 3, 3)
    look = Look((), {}, {4: attention})
    (shown,) = write_gallery(look, np.zeros((2, 48, 48, 3), np.uint8), tmp_path, "many heads")
    heads = [int(label.removeprefix("head ")) for label in shown.panel.labels]
    assert (heads[0], heads[-1], len(heads)) == (1, 32, 8)
    for column, head in enumerate(heads):
        np.testing.assert_array_equal(shown.panel.maps[:, column], attention[:, head - 1].numpy())
    assert "8 of 32 heads" in shown.alt


def test_photographs_are_the_papers_view_normalised(photos):
    (path, *_) = sorted((photos / "pets_small").glob("*/*"))
    pixels = photographs([path], 224)
    assert pixels.shape == (1, 224, 224, 3) and pixels.dtype == np.uint8
    expected = (pixels[0].transpose(2, 0, 1) / 255 - np.reshape(IMAGENET_MEAN, (3, 1, 1))) / (
        np.reshape(IMAGENET_STD, (3, 1, 1))
    )
    np.testing.assert_allclose(as_batch(pixels)[0].numpy(), expected, atol=1e-5)


def test_a_file_that_is_no_image_is_named(tmp_path):
    path = tmp_path / "cat.jpg"
    path.write_text("meow")
    with pytest.raises(DataError, match="cat.jpg: no readable image"):
        photographs([path], 32)
