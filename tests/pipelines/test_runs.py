"""The runs of a row: its seeds, its images, and what it starts from."""

import json

import pytest

from pipelines.environment import ROOT
from pipelines.params.asked import asked_rows
from pipelines.params.reader import Params
from pipelines.params.runs import configs_of
from t2t.errors import ConfigError
from t2t.training.config import Parent, sha256_asked_of

PARAMS = ROOT / "params.yaml"


def test_a_row_has_a_run_for_each_of_its_seeds():
    configs = configs_of(Params(PARAMS), "digits", "t2t_vit_14", None)
    assert [config.seed for config in configs] == [0, 1, 2]
    (config, *_) = configs
    assert (config.backbone, config.variant, config.width_factor) == ("t2t_vit", "t2t_vit_14", 0.25)
    assert (config.image_size, config.parent, config.val_shard) == (None, None, "val.beton")


@pytest.fixture
def needed(tmp_path):
    """The folder of a row that was trained with the seeds given."""

    def trained(*seeds):
        for seed in seeds:
            (tmp_path / f"seed_{seed}").mkdir()
        return tmp_path

    return trained


@pytest.mark.parametrize("scale, image_size", [("digits", 48), ("imagenet", 384)])
def test_fine_tuning_goes_on_from_weights_at_the_scales_larger_images(needed, scale, image_size):
    (config,) = configs_of(Params(PARAMS), scale, "t2t_vit_14_384", needed(0, 1, 2))
    assert config.parent == Parent(needed() / "seed_0", "weights")
    assert (config.image_size, config.val_shard) == (image_size, "val_fine.beton")


def test_distillation_has_the_shards_images(needed):
    (config,) = configs_of(Params(PARAMS), "imagenet", "deit_small_distilled", needed(0))
    assert config.parent == Parent(needed() / "seed_0", "teacher")
    assert config.image_size is None


def test_each_seed_starts_from_its_own_or_from_the_first(needed, tmp_path):
    path = tmp_path / "params.yaml"
    text = PARAMS.read_text().replace("seeds: [0, 1, 2]", "seeds: [5, 7, 6]")
    path.write_text(
        text.replace(
            "train: {seeds: 1}\n    baseline: t2t_vit_14\n", "train: {}\n    baseline: t2t_vit_14\n"
        )
    )
    configs = configs_of(Params(path), "digits", "t2t_vit_14_384", needed(5, 7))
    starts = {config.seed: config.parent.run.name for config in configs}
    assert starts == {5: "seed_5", 7: "seed_7", 6: "seed_5"}


def test_a_derived_row_is_not_in_rows():
    with pytest.raises(ConfigError, match=r"rows\.t2t_vit_14_384: missing"):
        configs_of(Params(PARAMS), "digits", "t2t_vit_14_384", None)


def written(config):
    """What a run keeps of its configuration; the shards' images have 32 pixels."""
    plain = config.plain()
    plain["image_size"] = plain["image_size"] or 32
    return json.loads(json.dumps(plain))


@pytest.mark.parametrize("scale", ["digits", "imagenet"])
def test_the_report_asks_for_what_the_runs_were(needed, monkeypatch, scale):
    monkeypatch.setattr(Parent, "config", lambda self: {"digest": "d"})
    params, runs = Params(PARAMS), needed(0, 1, 2)
    for name, info in asked_rows(params, scale).items():
        configs = configs_of(params, scale, name, runs if info.ancestor else None)
        assert info.asked_sha256 == sha256_asked_of([written(c) for c in configs]), name


@pytest.mark.parametrize(
    "row, old, new",
    [
        ("t2t_vit_14", "      lr: 2.0e-3", "      lr: 2.1e-3"),
        ("t2t_vit_14", "seeds: [0, 1, 2]", "seeds: [0, 1]"),
        ("t2t_vit_14", "width_factor: 0.25", "width_factor: 0.3"),
        ("t2t_vit_14", "variant: t2t_vit_14}", "variant: t2t_vit_19}"),
        ("t2t_vit_14_384", "image_size: 48", "image_size: 64"),
    ],
)
def test_what_decides_a_rows_figures_changes_what_is_asked(tmp_path, row, old, new):
    path, text = tmp_path / "params.yaml", PARAMS.read_text()
    path.write_text(text.replace(old, new))
    before, after = (asked_rows(Params(p), "digits")[row].asked_sha256 for p in (PARAMS, path))
    assert before != after
    path.write_text(text.replace("cpu_threads: ", "cpu_threads: 1"))
    assert asked_rows(Params(path), "digits")[row].asked_sha256 == before


def test_the_same_number_in_another_spelling_asks_for_the_same(tmp_path):
    old = "mixup_alpha: 0.8"
    path, text = tmp_path / "params.yaml", PARAMS.read_text()
    found = []
    assert text.count(old) == 1
    for value in ("3", "3.0"):
        path.write_text(text.replace(old, f"{old.partition(':')[0]}: {value}"))
        found.append(asked_rows(Params(path), "imagenet")["t2t_vit_14"].asked_sha256)
    assert found[0] == found[1] != asked_rows(Params(PARAMS), "imagenet")["t2t_vit_14"].asked_sha256
