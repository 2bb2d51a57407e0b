"""`dvc repro`: everything once, then only what an edit makes stale."""

import contextlib
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import time
from pathlib import Path

import psutil
import pytest
import torch
from safetensors.torch import load_file

from t2t.files import SEAL, sha256_file
from tests.e2e.project import Project

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]
ALL = ["prepare", "shard"]
ALL += [f"{verb}@{row}" for verb in ("train", "evaluate") for row in ("t2t_vit_14", "vit_small")]
DERIVED = ["train_derived@t2t_vit_14_384", "evaluate_derived@t2t_vit_14_384"]
ALL += [*DERIVED, "analyse@t2t_vit_14"]
TRANSFER = "transfer@cifar10_t2t_vit_14"
ALL += ["prepare_downstream@cifar10", "shard_downstream@cifar10", TRANSFER]
ALL += ["extra", "catalogue", "measure", "compare"]
# What a row that comes, goes or changes its network makes stale besides its own stages.
OF_ALL_ROWS = ["catalogue", "measure", "compare", "report"]
LONG = ("epochs: 2", "epochs: 20")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The project after its first `dvc repro`, with the stages that it ran."""
    project = Project.created(tmp_path_factory.mktemp("made"))
    ran = project.repro()
    return project, ran


@pytest.fixture
def project(made, tmp_path):
    return made[0].copied(tmp_path / "project")


def test_first_repro_runs_every_stage_once(made):
    project, ran = made
    assert sorted(ran) == sorted([*ALL, "report"])
    table = project.read("reports/digits/table.md")
    assert "T2T-ViT-14" in table and "ViT-S/16" in table and "checks the machinery" in table
    metrics = json.loads(project.read("reports/digits/metrics/t2t_vit_14.json"))
    assert metrics["val_images"] > 1000 and 0 < metrics["top1_pct"] < 100
    fine = json.loads(project.read("reports/digits/metrics/t2t_vit_14_384.json"))
    assert (metrics["image_size"], fine["image_size"]) == (32, 48)
    analysis = json.loads(project.read("reports/digits/analyses/t2t_vit_14/redundancy.json"))
    assert analysis["base_top1_pct"] > 0 and analysis["removal_images"] == 128
    assert fine["macs_g"] > metrics["macs_g"] and fine["val_images"] == metrics["val_images"]
    costs = json.loads(project.read("reports/digits/costs.json"))
    assert set(costs["rows"]) == {"t2t_vit_14", "vit_small", "t2t_vit_14_384"}
    differences = json.loads(project.read("reports/digits/differences.json"))
    vit = json.loads(project.read("reports/digits/metrics/vit_small.json"))
    delta = vit["top1_pct"] - metrics["top1_pct"]
    assert differences["vit_small"]["delta_pct"] == pytest.approx(delta)
    assert set(differences) == {"vit_small", "t2t_vit_14_384", SEAL}


def test_a_transfer_is_trained_on_its_own_set_and_scored_there(made):
    transfer = json.loads(made[0].read("reports/digits/transfers/cifar10_t2t_vit_14.json"))
    assert (transfer["needs"], transfer["set"], transfer["recipe"]) == (
        "t2t_vit_14",
        "cifar10",
        "paper",
    )
    assert (transfer["train_images"], transfer["num_classes"]) == (100, 10)
    assert transfer["top1_pct"] == transfer["top1_raw_pct"] > 0
    runs = made[0].folder / "data/transfers/digits/cifar10_t2t_vit_14"
    config = json.loads((runs / "seed_0" / "config.json").read_text())
    needed = json.loads(made[0].read("data/runs/digits/t2t_vit_14/seed_0/config.json"))
    assert config["parent"] == {"role": "backbone", "digest": needed["digest"]}
    (record,) = [
        json.loads(path.read_text())
        for path in (made[0].folder / "data/checkpoints").glob("*/run.json")
        if "cifar10" in path.read_text()
    ]
    assert (record["experiment"], record["name"]) == ("digits", "cifar10_t2t_vit_14-seed0")
    assert record["datasets"]["validation"]["name"] == "digits.cifar10-val"
    assert (record["params"]["data_set"], record["tags"]["set"]) == ("digits.cifar10", "cifar10")


def test_second_repro_runs_nothing(made):
    began = time.monotonic()
    assert made[0].repro() == []
    assert time.monotonic() - began < 60
    assert made[0].stale() == set()


def test_dvc_shows_metrics_plots_and_params(made):
    project = made[0]
    metrics = json.loads(project.dvc("metrics", "show", "--json").stdout)[""]["data"]
    expected = {"t2t_vit_14", "vit_small", "t2t_vit_14_384", "cifar10_t2t_vit_14"}
    assert {Path(name).stem for name in metrics} == expected
    assert all("top1_pct" in entry["data"] for entry in metrics.values())
    shown = project.dvc("plots", "show", "--json")
    assert "reports/digits/curves/t2t_vit_14.csv" in shown.stdout, shown.stderr


def test_added_row_runs_that_row_and_the_report(project):
    text, derived = project.read("params.yaml").split("derived:")
    row = text.partition("  vit_small:")[2]
    addition = "  vit_smaller:" + row.replace("ViT-S/16", "ViT-XS").replace("{}", "{lr: 1.0e-3}")
    project.write("params.yaml", f"{text}{addition}derived:{derived}")
    own = ["train@vit_smaller", "evaluate@vit_smaller"]
    assert sorted(project.repro()) == sorted([*own, *OF_ALL_ROWS])
    assert "ViT-XS" in project.read("reports/digits/table.md")


def test_removed_row_leaves_the_table(project):
    text = project.read("params.yaml")
    start, end = text.index("  vit_small:"), text.index("derived:")
    project.write("params.yaml", text[:start] + text[end:])
    assert sorted(project.repro()) == sorted(OF_ALL_ROWS)
    assert "ViT-S/16" not in project.read("reports/digits/table.md")


TAUGHT = """  t2t_vit_14_taught:
    title: T2T-ViT-14, taught
    needs: vit_small
    role: teacher
    phase: train
    model: {backbone: t2t_vit, variant: t2t_vit_14}
    train: {}
    baseline: t2t_vit_14
    paper: null
"""


def test_added_derived_row_runs_that_row_and_the_report(project):
    project.edit("params.yaml", "transfers:\n", f"{TAUGHT}transfers:\n")
    own = ["train_derived@t2t_vit_14_taught", "evaluate_derived@t2t_vit_14_taught"]
    assert sorted(project.repro()) == sorted([*own, *OF_ALL_ROWS])
    assert "T2T-ViT-14, taught" in project.read("reports/digits/table.md")
    folder = project.folder / "data/runs/digits"
    taught, own = (
        (folder / row / "seed_0" / "ema.safetensors").read_bytes()
        for row in ("t2t_vit_14_taught", "t2t_vit_14")
    )
    assert taught != own, "the teacher changed nothing"


RELEASED = """released:
  t2t_vit_14_released:
    title: T2T-ViT-14, published
    model: {{backbone: t2t_vit, variant: t2t_vit_14}}
    phase: train
    weights: elsewhere/81.5_T2T_ViT_14.pth.tar
    sha256: {sha256}
    expected_top1_pct: null
    baseline: t2t_vit_14
    paper: null
"""


def test_published_weights_are_scored_as_a_row_of_their_own(project):
    """In the authors' format, of a network that was trained here."""
    own = project.folder / "data/runs/digits/t2t_vit_14/seed_0/ema.safetensors"
    weights = project.folder / "data/downloads/elsewhere/81.5_T2T_ViT_14.pth.tar"
    weights.parent.mkdir(parents=True)
    torch.save({"state_dict_ema": load_file(own), "epoch": 309}, weights)
    rows = RELEASED.format(sha256=sha256_file(weights))
    project.write("params.yaml", project.read("params.yaml").replace("released: {}\n", rows))
    row = ["fetch_released@t2t_vit_14_released", "evaluate_released@t2t_vit_14_released"]
    assert sorted(project.repro("compare")) == sorted([*row, "catalogue", "compare"])
    metrics, published = (
        json.loads(project.read(f"reports/digits/metrics/{name}.json"))
        for name in ("t2t_vit_14", "t2t_vit_14_released")
    )
    assert published["top1_pct"] == published["top1_raw_pct"] == metrics["top1_pct"]
    found = json.loads(project.read("reports/digits/differences.json"))["t2t_vit_14_released"]
    assert (found["baseline"], found["delta_pct"], found["seeds"]) == ("t2t_vit_14", 0, 1)


def test_edited_row_makes_what_needs_it_stale(project):
    row = "t2t_vit_14}\n    train: {"
    project.edit("params.yaml", f"{row}}}", f"{row}lr: 1.0e-3}}")
    assert project.stale() == {"train@t2t_vit_14", "catalogue", "report"}
    project.repro("train@t2t_vit_14")
    needing = {f"{verb}@t2t_vit_14" for verb in ("evaluate", "analyse")}
    needing |= {"train_derived@t2t_vit_14_384", TRANSFER}
    assert project.stale() == {*needing, "catalogue", "report"}
    # Its learning rate is no affair of its network, nor of its baseline.
    assert project.repro("catalogue") == ["catalogue"]
    assert project.stale() == {*needing, "report"}


def test_fine_tuning_is_the_derived_rows_affair(project):
    project.edit("params.yaml", "epochs: 1,", "epochs: 2,")
    assert project.stale() == {"train_derived@t2t_vit_14_384", "catalogue", "report"}


def test_a_transfers_knobs_are_its_own_affair(project):
    project.edit("params.yaml", "title: T2T-ViT-14 on CIFAR-10", "title: T2T-ViT-14 elsewhere")
    project.edit("params.yaml", "lr: 1.0e-4", "lr: 2.0e-4")  # of another transfer recipe
    assert project.stale() == {"catalogue", "report"}
    project.edit("params.yaml", "lr: 0.05", "lr: 0.04")
    project.edit("params.yaml", "train_per_class: 10", "train_per_class: 5")
    assert project.stale() == {"prepare_downstream@cifar10", TRANSFER, "catalogue", "report"}


def test_another_fine_size_trains_no_other_row(project):
    project.edit("params.yaml", "image_size: 48", "image_size: 64")
    assert project.repro("shard") == ["shard"]
    stale = project.stale()
    assert "train_derived@t2t_vit_14_384" in stale
    assert not any(stage.startswith("train@") for stage in stale)


@pytest.mark.parametrize(
    "right, wrong", [("top1_pct: 81.5", "top1_pct: 81.6"), ("title: ViT-S/16", "title: ViT-S")]
)
def test_what_only_the_report_reads_re_runs_only_the_report(project, right, wrong):
    """And the list of networks, which takes no time and comes out the same."""
    project.edit("params.yaml", right, wrong)
    assert project.repro() == ["catalogue", "report"]


def test_comment_in_one_backbone_leaves_the_others_rows_alone(project):
    path = "t2t/models/vit.py"
    project.write(path, project.read(path) + "# A comment.\n")
    own = ["train@vit_small", "evaluate@vit_small"]
    # Trained anew, with the same answers: there is nothing to compare.
    assert sorted(project.repro()) == sorted([*own, "measure", "report"])


def test_new_backbone_makes_no_row_stale(project):
    """Costs are measured side by side, so that what may become a row's network measures them."""
    project.write("t2t/models/another.py", '"""A backbone."""\n\nVARIANTS = {}\n')
    assert project.stale() == {"measure"}


def test_what_no_stage_reads_re_runs_nothing(project):
    for path in ("t2t/tracking/follow.py", "pipelines/run.py", "README.md"):
        project.write(path, project.read(path) + "\n")
    text = project.read("params.yaml").replace("\nrows:", "\n# A comment.\nrows:")
    project.write("params.yaml", text)
    assert project.repro() == []


def test_mistake_in_params_stops_before_anything_is_touched(project):
    project.edit("params.yaml", "lr: 2.0e-3", "lr: -1")
    weights = next((project.folder / "data" / "runs").rglob("ema.safetensors"))
    result = project.dvc("repro", "shard", "--force")
    assert result.returncode != 0
    assert "params.yaml:" in result.stderr and "scales.digits.train.lr" in result.stderr
    assert "Traceback" not in result.stderr and weights.exists()


def wait_for(condition, seconds=90):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.1)


def trainers(project):
    """Processes of `project` that train, without the shell that may stand above each."""
    found = []
    for process in psutil.process_iter(["name", "cmdline", "cwd"]):
        if process.info["name"] == "sh":
            continue
        command = " ".join(process.info["cmdline"] or [])
        if process.info["cwd"] == str(project.folder) and "pipelines.run train" in command:
            found.append(process)
    return found


def checkpoints(project):
    return list((project.folder / "data" / "checkpoints").glob("*/step_*.pt"))


def weights(project):
    return (project.folder / "data/runs/digits/t2t_vit_14/seed_0/raw.safetensors").read_bytes()


@pytest.fixture(scope="module")
def undisturbed(made, tmp_path_factory):
    """The project after a longer training of one row that nobody touched."""
    project = made[0].copied(tmp_path_factory.mktemp("undisturbed") / "project")
    project.edit("params.yaml", *LONG)
    assert project.repro("train@t2t_vit_14") == ["train@t2t_vit_14"]
    return project


@pytest.mark.faults("killed dvc repro")
def test_killed_dvc_leaves_no_trainer_and_the_row_goes_on_where_it_was(project, undisturbed):
    project.edit("params.yaml", *LONG)
    dvc = project.start_dvc("repro", "train@t2t_vit_14")
    wait_for(lambda: checkpoints(project))
    assert trainers(project)
    os.kill(dvc.pid, signal.SIGKILL)
    dvc.wait()
    wait_for(lambda: not trainers(project), 60)
    (newest, *_) = sorted(checkpoints(project), reverse=True)
    step = int(newest.name[5:14])
    assert step > 0
    assert project.repro("train@t2t_vit_14") == ["train@t2t_vit_14"]
    assert weights(project) == weights(undisturbed)
    assert not checkpoints(project)


@pytest.mark.faults("killed dvc repro")
def test_killed_trainer_fails_the_stage_and_goes_on_next_time(project, undisturbed):
    project.edit("params.yaml", *LONG)
    dvc = project.start_dvc("repro", "train@t2t_vit_14")
    wait_for(lambda: checkpoints(project))
    for process in trainers(project):
        process.kill()
    assert dvc.wait(60) != 0
    assert "train@t2t_vit_14" in project.stale()
    project.repro("train@t2t_vit_14")
    assert weights(project) == weights(undisturbed)


@pytest.mark.timeout(1800)
@pytest.mark.faults("killed dvc repro")
def test_dvc_killed_at_random_moments_goes_on(made, undisturbed, tmp_path, all_faults, tally):
    """Whatever it was at: hashing, training, scoring, moving into its cache, writing dvc.lock."""
    draws, kills = random.Random(0), 20 if all_faults else 2
    tally.plan(kills)
    for number in range(3 * kills):
        if tally.injected == kills:
            break
        project = made[0].copied(tmp_path / f"project{number}")
        project.edit("params.yaml", *LONG)
        dvc = project.start_dvc("repro", "evaluate@t2t_vit_14")
        with contextlib.suppress(subprocess.TimeoutExpired):
            dvc.wait(draws.uniform(1, 12))
        dvc.kill()
        if dvc.wait() == 0:  # it had ended before, which is no fault
            shutil.rmtree(project.folder, ignore_errors=True)
            continue
        assert dvc.returncode == -signal.SIGKILL, project.read("dvc.log")
        # It saves its state and leaves by itself; a repro before that would say who is at work.
        wait_for(lambda project=project: not trainers(project))
        project.repro("evaluate@t2t_vit_14")
        assert not trainers(project)
        wrong = {
            "other weights": weights(project) != weights(undisturbed),
            "damaged objects": damaged_objects(project),
            "stale": {"train@t2t_vit_14", "evaluate@t2t_vit_14"} & project.stale(),
        }
        tally.add(not any(wrong.values()))
        assert not any(wrong.values()), (wrong, project.read("dvc.log"))
        # The mirror may be at work still.
        wait_for(lambda folder=project.folder: not list(folder.glob("[dr]*/**/*.partial")))
        shutil.rmtree(project.folder, ignore_errors=True)
    assert tally.injected == kills, "dvc had ended too often"


def damaged_objects(project):
    """Files of DVC's cache that are not what their name says."""
    objects = (project.folder / ".dvc" / "cache" / "files" / "md5").glob("??/*")
    return [
        path.name
        for path in objects
        if hashlib.md5(path.read_bytes()).hexdigest() != path.parent.name + path.name.split(".")[0]
    ]


@pytest.mark.faults("two at once")
def test_a_second_repro_is_refused_and_the_first_goes_on(project):
    project.edit("params.yaml", *LONG)
    first = project.start_dvc("repro", "train@t2t_vit_14")
    wait_for(lambda: trainers(project))
    for process in trainers(project):
        process.suspend()  # or it might be done before the second one looks
    try:
        second = project.dvc("repro", "train@t2t_vit_14")
        assert len(trainers(project)) == 1
    finally:
        for process in trainers(project):
            process.resume()
    assert second.returncode != 0 and "Traceback" not in second.stderr
    assert "lock" in second.stderr or "is busy" in second.stderr
    assert first.wait(200) == 0, project.read("dvc.log")


@pytest.mark.faults("inputs edited meanwhile")
def test_dependency_edited_while_a_stage_runs_makes_it_fail(project):
    project.edit("params.yaml", *LONG)
    dvc = project.start_dvc("repro", "train@t2t_vit_14")
    wait_for(lambda: checkpoints(project))
    project.write("t2t/nn/block.py", project.read("t2t/nn/block.py") + "# Meanwhile.\n")
    assert dvc.wait(120) != 0
    assert "t2t/nn/block.py changed while this stage ran" in project.read("dvc.log")
    assert "train@t2t_vit_14" in project.stale()
