"""`scales.<scale>.shards`: what is understood, and what a mistake is told."""

from pathlib import Path

import pytest

from pipelines.params.data import ShardParams, TrainShardParams
from pipelines.params.reader import Params
from t2t.errors import ConfigError

HEAD = "scales:\n  a:\n    shards:\n      image_size: 224\n      crop_pct: 0.9\n"


@pytest.fixture
def shards(tmp_path):
    """Reads the block with `train` as given; "" leaves it out."""

    def read(train: str) -> ShardParams:
        path = Path(tmp_path, "params.yaml")
        path.write_text(HEAD + (f"      train: {train}\n" if train else ""))
        return Params(path).part("scales.a.shards", ShardParams)

    return read


def test_without_more_words_training_images_are_stored_as_validation_images_are(shards):
    assert shards("").train == TrainShardParams(mode="raw", unreadable="refuse")


def test_jpeg(shards):
    train = shards("{mode: jpg, max_side_px: 400, quality: 90}").train
    assert (train.mode, train.max_side_px, train.quality) == ("jpg", 400, 90)
    unlimited = shards("{mode: jpg, max_side_px: null, quality: 95, unreadable: skip}").train
    assert (unlimited.max_side_px, unlimited.unreadable) == (None, "skip")


@pytest.mark.parametrize(
    ("train", "message"),
    [
        ("{mode: jpeg}", "train.mode: input should be 'raw' or 'jpg', got 'jpeg'"),
        ("{mode: jpg}", "train.quality: missing, since mode is jpg"),
        ("{mode: jpg, quality: 0}", "train.quality: .* greater than or equal to 1, got 0"),
        ("{mode: jpg, quality: 90, max_side_px: 8}", "train.max_side_px: .* equal to 16, got 8"),
        ("{mode: jpg, quality: 90, max_side: 400}", "train.max_side: .* mean max_side_px?"),
        ("{quality: 90}", "train.mode: max_side_px and quality are for mode jpg, got 'raw'"),
        ("{unreadable: ignore}", "train.unreadable: .* 'refuse' or 'skip', got 'ignore'"),
    ],
)
def test_a_mistake_is_told_with_its_key(shards, train, message):
    with pytest.raises(ConfigError, match=rf"params.yaml:\d: scales.a.shards.{message}"):
        shards(train)
