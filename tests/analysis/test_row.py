"""A trained row, from its runs to the files in its folder."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from t2t.analysis.row import analyse_row, summary
from t2t.analysis.sample import ValidationSample
from t2t.errors import DataError
from t2t.files import sha256_file, write_json
from t2t.training.config import network_of
from t2t.training.inputs import validation_loader
from t2t.training.run import train_run
from t2t.training.workspace import RUN_SEAL
from tests.runs import changed, short_config

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def runs(shards, tmp_path_factory):
    """Two seeds of a row, trained for a moment."""
    folder = tmp_path_factory.mktemp("analysed")
    config = changed(short_config(), epochs=1, cooldown_epochs=0, warmup_epochs=0)
    for seed in (0, 1):
        seeded = dataclasses.replace(config, seed=seed)
        train_run(seeded, shards, folder / "work", folder / "row" / f"seed_{seed}", {})
    return folder / "row"


@pytest.fixture(scope="module")
def analysed(runs, shards, tmp_path_factory):
    out = tmp_path_factory.mktemp("out") / "row"
    return analyse_row(runs, shards, out, images=20, removal_images=1000), out


@pytest.mark.slow
def test_what_is_written_is_what_the_report_reads(analysed):
    found, out = analysed
    assert json.loads((out / "redundancy.json").read_text()) == found
    assert (found["row"], found["seed"], found["images"]) == ("t2t_vit_14", 0, 20)
    assert found["removal_images"] == 60, "all there are"
    assert [seed["seed"] for seed in found["other_seeds"]] == [1]
    for layer in found["layers"]:
        heads = layer["heads"]
        for matrix in (layer["similarity"], layer["cka"]):
            assert np.shape(matrix) == (heads, heads)
            np.testing.assert_allclose(np.diag(matrix), 1, atol=1e-5)
        others = (np.sum(layer["similarity"], 1) - 1) / (heads - 1)
        np.testing.assert_allclose(layer["head_similarity"], others, atol=1e-5)
        assert layer["mean_similarity"] == pytest.approx(others.mean(), abs=1e-5)
        assert len(layer["drop_pct"]) == len(layer["loss_rise"]) == heads
    listed = {entry["file"] for entry in json.loads((out / "images.json").read_text())}
    assert {path.name for path in out.iterdir()} == {*listed, "images.json", "redundancy.json"}


@pytest.mark.slow
def test_every_seed_is_scored_with_its_own_averaged_weights(analysed, runs, shards):
    found, _ = analysed
    for entry in (found, *found["other_seeds"]):
        run = runs / f"seed_{entry['seed']}"
        config = json.loads((run / "config.json").read_text())
        (*_, last) = (run / "metrics.jsonl").read_text().splitlines()
        assert entry["base_top1_pct"] == pytest.approx(json.loads(last)["val_top1_pct"], abs=1e-4)
        model = network_of(config).eval()
        model.load_state_dict(load_file(run / "ema.safetensors"))
        layer = model.blocks[0].attn
        with torch.no_grad():
            layer.proj.weight.unflatten(1, (layer.num_heads, -1))[:, 1] = 0
            right = 0
            for images, labels in ValidationSample(shards, config, CPU).batches(1000):
                right += (model(images).argmax(1) == labels).sum().item()
        drop = entry["base_top1_pct"] - 100 * right / 60
        assert entry["layers"][0]["drop_pct"][1] == pytest.approx(drop, abs=1e-4)


@pytest.mark.slow
def test_the_same_inputs_give_the_same_bytes(analysed, runs, shards, tmp_path):
    _, out = analysed
    analyse_row(runs, shards, tmp_path, images=20, removal_images=1000)
    for path in out.iterdir():
        assert path.read_bytes() == (tmp_path / path.name).read_bytes(), path.name


@pytest.mark.slow
def test_a_sample_is_drawn_from_all_over_the_shard_and_grows_by_its_end(runs, shards):
    config = json.loads((runs / "seed_0" / "config.json").read_text())
    sample = ValidationSample(shards, config, CPU)
    few, more = (
        [torch.cat(parts) for parts in zip(*sample.batches(count), strict=True)]
        for count in (7, 60)
    )
    assert len(few[0]) == 7 and len(more[0]) == 60
    assert torch.equal(few[0], more[0][:7]) and torch.equal(few[1], more[1][:7])
    (stored,) = validation_loader(shards).epoch(0)
    assert not torch.equal(stored.labels, more[1])
    assert torch.equal(stored.labels.sort().values, more[1].sort().values)


@pytest.mark.slow
def test_pictured_images_are_of_different_classes(runs, shards):
    config = json.loads((runs / "seed_0" / "config.json").read_text())
    sample = ValidationSample(shards, config, CPU)
    pictured = sample.normalized(sample.pictured(4))
    images, labels = next(sample.batches(60))
    places = [next(i for i, image in enumerate(images) if torch.equal(image, p)) for p in pictured]
    assert places == sorted(places) and len(set(labels[places].tolist())) == 4


@pytest.mark.slow
def test_runs_of_another_shard_are_refused_and_nothing_is_written(runs, shards, tmp_path):
    other = tmp_path / "runs" / "seed_0"
    other.mkdir(parents=True)
    for path in (runs / "seed_0").iterdir():
        (other / path.name).write_bytes(path.read_bytes())
    config = json.loads((other / "config.json").read_text())
    config["shards"]["val"] = "0" * 64
    (other / "config.json").write_text(json.dumps(config))
    hashes = json.loads((other / RUN_SEAL).read_text())
    write_json(other / RUN_SEAL, hashes | {"config.json": sha256_file(other / "config.json")})
    with pytest.raises(DataError, match="seed_0: trained beside another validation shard"):
        analyse_row(tmp_path / "runs", shards, tmp_path / "out", images=8, removal_images=8)
    assert not (tmp_path / "out").exists()


def test_a_row_that_was_not_trained_is_refused(tmp_path):
    with pytest.raises(DataError, match="holds no trained run; train the row first"):
        analyse_row(tmp_path, tmp_path, tmp_path / "out", images=8, removal_images=8)


def test_the_summary_pools_the_heads_of_all_seeds():
    def layer(similarity, drop):
        keys = {"head_similarity": similarity, "drop_pct": drop, "loss_rise": drop}
        return {"heads": len(similarity), "mean_cka": 0.5, **keys}

    seeds = [
        {"seed": 3, "layers": [layer([0.1, 0.2], [2.0, 1.0]), layer([0.7, 0.8], [4.0, 3.0])]},
        {"seed": 5, "layers": [layer([0.3, 0.4], [2.0, 1.0]), layer([0.9, 1.0], [4.0, 3.0])]},
    ]
    found = summary(seeds)
    assert (found["seeds"], found["heads"], found["mean_cka"]) == ([3, 5], 8, 0.5)
    assert found["mean_similarity"] == pytest.approx(0.55)
    assert found["mean_drop_pct"] == pytest.approx(2.5)
    correlations = found["rank_correlation"]["drop_pct"]
    assert correlations["all"]["rho"] > 0.5
    assert correlations["within_layers"]["rho"] == pytest.approx(-1)
