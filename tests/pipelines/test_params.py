"""params.yaml: what is right is read, what is wrong is told in one line with its place.

Most of it is one table, of mistakes and what is said of each.
"""

import dataclasses
import re
from pathlib import Path

import pytest

from pipelines.check import check_params
from pipelines.params.reader import MAX_BYTES, Params
from pipelines.params.training import resolve_recipe, row_seeds
from t2t.errors import ConfigError

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "params.yaml").read_text()
VIT = "model: {backbone: vit, variant: vit_small}"


@pytest.fixture
def write(tmp_path):
    def written(text: str) -> Path:
        path = tmp_path / "params.yaml"
        path.write_text(text)
        return path

    return written


def line_of(text: str, part: str) -> int:
    return next(n for n, line in enumerate(text.splitlines(), 1) if part in line)


def test_the_projects_own_file_is_right(write):
    check_params(write(TEXT))


def test_recipe_is_merged_in_order(write):
    text = TEXT.replace(
        "    train: {}\n    baseline: null\n", "    train: {lr: 0.125}\n    baseline: null\n", 1
    )
    params = Params(write(text))
    row = resolve_recipe(params, "digits", "t2t_vit_14_wo_t2t")
    other = resolve_recipe(params, "digits", "t2t_vit_14")
    assert row.lr == 0.125
    assert other.lr == params.tree["scales"]["digits"]["train"]["lr"]
    assert row.weight_decay == params.tree["recipe"]["weight_decay"]


def test_a_row_takes_all_seeds_or_the_first_ones(write):
    params = Params(write(TEXT))
    assert row_seeds(params, "digits", "t2t_vit_14") == [0, 1, 2]
    assert row_seeds(params, "digits", "resnet_152") == [0]
    assert resolve_recipe(params, "digits", "resnet_152") == resolve_recipe(params, "digits")


def test_a_derived_row_of_phase_fine_has_the_scales_fine_tuning_between(write):
    fine = resolve_recipe(Params(write(TEXT)), "imagenet", "t2t_vit_14_384", "derived")
    assert (fine.epochs, fine.lr, fine.weight_decay) == (30, 5e-5, 1e-5)
    assert (fine.batch_size, fine.drop_path) == (512, 0.1)
    own = TEXT.replace(
        "train: {seeds: 1}\n    baseline: t2t_vit_14\n    paper: {table: 2",
        "train: {lr: 0.125}\n    baseline: t2t_vit_14\n    paper: {table: 2",
    )
    assert own != TEXT
    changed = resolve_recipe(Params(write(own)), "imagenet", "t2t_vit_14_384", "derived")
    assert (changed.lr, changed.epochs) == (0.125, 30)


def test_a_distilled_row_is_trained_as_its_baseline_is(write):
    params = Params(write(TEXT))
    for scale in ("digits", "imagenet"):
        for row in ("t2t_vit_7", "t2t_vit_12", "deit_small"):
            plain = resolve_recipe(params, scale, row)
            assert resolve_recipe(params, scale, f"{row}_distilled", "derived") == plain


def test_rows_of_data_efficiency_differ_in_their_share_alone(write):
    params = Params(write(TEXT))
    for row in ("t2t_vit_14", "vit_small"):
        for percent in (10, 25, 50):
            share = resolve_recipe(params, "imagenet", f"{row}_{percent}pct")
            assert share.train_fraction == percent / 100
            whole = dataclasses.replace(share, train_fraction=1.0)
            assert whole == resolve_recipe(params, "imagenet", row)


def test_a_project_may_have_no_derived_rows(write):
    text = TEXT[: TEXT.index("\nderived:") + 1]
    end = "transfers: {}\nreleased: {}\ntables: []\nclaims: {}\n"
    check_params(write(text + "derived: {}\nanalyses: {}\n" + end))
    with pytest.raises(ConfigError, match="derived: missing"):
        check_params(write(text))
    with pytest.raises(ConfigError, match="analyses: missing"):
        check_params(write(text + "derived: {}\n" + end))


def test_weight_decay_and_rate_are_the_rows(write):
    """README of the official code: 0.03 and a rate of 1e-3 for 7, 10, 12; 0.065 for 19, 24."""
    params = Params(write(TEXT))
    for row, decay, rate in (
        ("t2t_vit_7", 0.03, 1e-3),
        ("t2t_vit_14", 0.05, 5e-4),
        ("t2t_vit_t_24", 0.065, 5e-4),
    ):
        recipe = resolve_recipe(params, "imagenet", row)
        assert (recipe.weight_decay, recipe.peak_lr) == (decay, rate)


@pytest.mark.parametrize("number", ["1e-3", "1.0e-3", "0.001"])
def test_numbers_are_read_as_dvc_reads_them(write, number):
    params = Params(write(TEXT.replace("lr: 2.0e-3", f"lr: {number}")))
    assert resolve_recipe(params, "digits").lr == 0.001


# What is replaced, by what, and what the line must say: its key, the problem, what would be right.
MISTAKES = {
    "unknown key below a mapping": (
        "shards: {image_size: 128, crop_pct: 1.0}",
        "shards: {image_sixe: 128, crop_pct: 1.0}",
        ["downstream.cifar10.shards.image_sixe", "did you mean image_size?"],
    ),
    "unknown recipe key": ("epochs: 17", "epohcs: 28", ["train.epohcs", "did you mean epochs?"]),
    "unknown row key": ("macs_g: 10.1", "mac: 10.1", ["vit_small.paper.mac", "macs_g"]),
    "unknown scale key": ("width_factor: 0.25", "width: 0.25", ["model.width", "width_factor"]),
    "no seeds": ("{seeds: 1}", "{seeds: 0}", ["train.seeds", "greater than or equal to 1, got 0"]),
    "analysis of no row": (
        "  vit_small: {images",
        "  vit_smal: {images",
        ["analyses.vit_smal", "is not in rows (known: ", "vit_small"],
    ),
    "unknown key of an analysis": (
        "{images: 256, removal_images",
        "{images: 256, removed_images",
        ["analyses.vit_small.removed_images", "did you mean removal_images?"],
    ),
    "no images to analyse": (
        "{images: 256,",
        "{images: 0,",
        ["analyses.vit_small.images", "got 0"],
    ),
    "claim about no row": (
        "row: vit_dn\n",
        "row: vit_dm\n",
        ["claims.vit_deep_narrow.row", "'vit_dm' is no row or transfer", "vit_dn"],
    ),
    "remark about a row": (
        "kind: remark\n    source: elsewhere\n    stated_pct: 81.8",
        "kind: remark\n    source: elsewhere\n    row: vit_base\n    stated_pct: 81.8",
        ["claims.said_deit_base: a claim of kind remark names neither row"],
    ),
    "effect without a baseline": (
        "    row: vit_dn\n    baseline: vit_small\n",
        "    row: vit_dn\n",
        ["claims.vit_deep_narrow", "names row and baseline"],
    ),
    "table without a row it prints": (
        "[vit_small, vit_dn, vit_sw,",
        "[vit_small, vit_sw,",
        ["tables", "table 6: vit_dn is missing"],
    ),
    "table with a row that the paper lacks": (
        "CNN: [resnet_50, wide",
        "CNN: [t2t_vit_10, wide",
        ["tables", "table 6: 't2t_vit_10' is no row with figures"],
    ),
    "unknown section": ("recipe:\n", "recipes:\n", ["recipes", "known here: scale, scales"]),
    "unknown backbone": ("backbone: vit,", "backbone: vitt,", ["vitt.py", "known: ", "t2t_vit"]),
    "unknown scale": ("scale: digits", "scale: digit", ["'digit'", "digits"]),
    "unknown baseline": ("baseline: t2t_vit_14\n", "baseline: t2t\n", ["'t2t'", "t2t_vit_14"]),
    "string for a number": ("lr: 2.0e-3", 'lr: "2e-3"', ["train.lr", "valid number", "'2e-3'"]),
    "boolean for a number": ("lr: 2.0e-3", "lr: true", ["train.lr", "valid number", "True"]),
    "float for an integer": ("epochs: 17", "epochs: 2.5", ["train.epochs", "2.5"]),
    "negative": ("lr: 2.0e-3", "lr: -0.1", ["train.lr", "greater than 0", "-0.1"]),
    "not a number": ("lr: 2.0e-3", "lr: .nan", ["train.lr", "greater than 0", "nan"]),
    "infinite": ("crop_pct: 1.0", "crop_pct: .inf", ["shards.crop_pct", "inf"]),
    "too short a list": ("betas: [0.9, 0.999]", "betas: [0.9]", ["recipe.betas"]),
    "no list": ("seeds: [0, 1, 2]", "seeds: 3", ["digits.seeds", "valid list", "3"]),
    "no seed": ("seeds: [0, 1, 2]", "seeds: []", ["digits.seeds", "at least 1"]),
    "a seed twice": ("seeds: [0, 1, 2]", "seeds: [0, 0]", ["digits.seeds", "once"]),
    "missing key": ("  label_smoothing: 0.1\n", "", ["recipe.label_smoothing", "missing"]),
    "missing title": ("    title: ViT-S/16\n", "", ["vit_small.title", "missing"]),
    "odd size": ("image_size: 32", "image_size: 30", ["image_size", "multiple of 16"]),
    "share beyond 1": ("val_fraction: 0.2", "val_fraction: 1.0", ["val_fraction", "less than 1"]),
    "list for a mapping": (
        "    train: {}\n    baseline: null",
        "    train: []\n    baseline: null",
        ["train", "dictionary"],
    ),
    "duplicate row": ("  vit_small:", "  t2t_vit_14:", ['duplicate key "t2t_vit_14"']),
    "name with a path": ("  vit_small:", "  ../vit_small:", ["rows.../vit_small", "a name is"]),
    "name with a command": ("  vit_small:", '  "a; touch x":', ["rows.a; touch x", "a name is"]),
    "numeric name": ("  vit_small:", "  12:", ["rows.12", "a name is"]),
    "derived of nothing": (
        "needs: t2t_vit_14\n",
        "needs: t2t_vit\n",
        ["t2t_vit_14_384.needs", "'t2t_vit' is not in rows", "known: t2t_vit_14_wo_t2t, "],
    ),
    "derived of derived": (
        "needs: t2t_vit_14\n",
        "needs: t2t_vit_7_distilled\n",
        ["t2t_vit_14_384.needs", "not in rows"],
    ),
    "one name twice": ("  t2t_vit_7_distilled:", "  t2t_vit_7:", ["derived.t2t_vit_7", "in rows"]),
    "weights of another network": (
        "role: teacher",
        "role: weights",
        ["deit_small_distilled.model", "weights of resnet_152", "'variant': 'resnet_152'"],
    ),
    "second teacher": (
        "teacher: none ",
        "teacher: resnet50 ",
        ["deit_small_distilled.role", "at scale digits has the teacher resnet50 already"],
    ),
    "unknown role": ("role: weights", "role: parent", ["384.role", "'weights' or 'teacher'"]),
    "unknown phase": (
        "phase: fine",
        "phase: large",
        ["384.phase", "'train' or 'fine', got 'large"],
    ),
    "key of derived in rows": (
        "    title: ViT-S/16\n",
        "    title: ViT-S/16\n    needs: resnet_50\n",
        ["rows.vit_small.needs", "unknown key"],
    ),
    "no fine size": ("      image_size: 48\n", "", ["digits.fine.image_size", "missing"]),
    "unknown key of fine": (
        "{epochs: 6, ",
        "{epohcs: 4, ",
        ["digits.fine.train.epohcs", "epochs?"],
    ),
    "seeds of a scale": ("{epochs: 6, ", "{seeds: 1, ", ["digits.fine.train.seeds", "unknown key"]),
    "fine recipe out of range": (
        "{epochs: 6, cooldown_epochs: 0, warmup_epochs: 0",
        "{epochs: 6, cooldown_epochs: 0, warmup_epochs: 6",
        ["digits.fine.train.warmup_epochs", "less than epochs, got 6"],
    ),
    "own baseline": (
        "baseline: deit_small\n",
        "baseline: deit_small_distilled\n",
        ["derived.deit_small_distilled.baseline", "no other row"],
    ),
    "line end in a name": (
        "\n  vit_small:\n",
        '\n  "vit_small\\n":\n',
        ["rows: a name is lower-case letters", r"got 'vit_small\n'"],
    ),
    "transfer of nothing": (
        "    needs: t2t_vit_14\n    set: cifar10\n",
        "    needs: t2t_vit\n    set: cifar10\n",
        ["transfers.cifar10_t2t_vit_14.needs", "'t2t_vit' is not in rows; did you mean t2t_vit"],
    ),
    "transfer of a derived row": (
        "    needs: t2t_vit_14\n    set: cifar10\n",
        "    needs: t2t_vit_14_384\n    set: cifar10\n",
        ["transfers.cifar10_t2t_vit_14.needs", "'t2t_vit_14_384' is not in rows"],
    ),
    "transfer to nothing": (
        "set: cifar10\n",
        "set: cifar\n",
        ["cifar10_t2t_vit_14.set", "'cifar' is not in downstream; did you mean cifar10?"],
    ),
    "unknown transfer recipe": (
        "recipe: paper\n",
        "recipe: papr\n",
        ["cifar10_t2t_vit_14.recipe", "'papr' is not in transfer_recipes; did you mean paper?"],
    ),
    "unknown start": ("start: trained", "start: weights", ["14.start", "'trained' or 'scratch'"]),
    "transfer of another network": (
        "    start: trained\n    model: {backbone: t2t_vit, variant: t2t_vit_14}",
        "    start: trained\n    model: {backbone: t2t_vit, variant: t2t_vit_7}",
        ["cifar10_t2t_vit_14.model", "the network of t2t_vit_14, so must be", "'t2t_vit_14'"],
    ),
    "transfer and row of one name": (
        "  cifar10_t2t_vit_14:",
        "  t2t_vit_14_384:",
        ["transfers.t2t_vit_14_384", "is the name of a row"],
    ),
    "unknown knob of a transfer": (
        "train: {seeds: 1, frozen: [norm",
        "train: {seeds: 1, frosen: [norm",
        ["transfers.cifar10_vit_small.train.frosen", "did you mean frozen?"],
    ),
    "no seeds of a transfer": (
        "train: {seeds: 1, frozen",
        "train: {seeds: 0, frozen",
        ["transfers.cifar10_vit_small.train.seeds", "greater than or equal to 1"],
    ),
    "unknown knob of a transfer recipe": (
        "    decay_all: true\n",
        "    decay_al: true\n",
        ["transfer_recipes.paper.decay_al", "did you mean decay_all?"],
    ),
    "transfer recipe out of range": (
        "    backbone_lr_factor: 0.01\n",
        "    backbone_lr_factor: 0.0\n",
        ["transfer_recipes.paper.backbone_lr_factor", "greater than 0, got 0.0"],
    ),
    "unknown optimiser": (
        "optimizer: sgd",
        "optimizer: sdg",
        ["paper.optimizer", "'adamw' or 'sgd', got 'sdg'"],
    ),
    "frozen without brackets": ("frozen: [norm, cls_token]", "frozen: norm", ["paper.frozen"]),
    "a set that a scale lacks": (
        "      cifar100:\n",
        "      cifar_100:\n",
        ["digits.downstream.cifar_100", "is not in downstream; did you mean cifar100?"],
    ),
    "a transfer recipe that a scale lacks": (
        "transfer: {paper: {}, sane: {}}",
        "transfer: {paper: {}}",
        ["imagenette.transfer.sane", "missing"],
    ),
    "no images of a class": (
        "train_per_class: 10",
        "train_per_class: 0",
        ["downstream.cifar10.data.train_per_class", "greater than or equal to 1, got 0"],
    ),
    "five quarter turns": ("quarter_turns: 1", "quarter_turns: 5", ["data.quarter_turns", "got 5"]),
    "unknown variant": (
        VIT,
        VIT.replace("vit_small", "vit_smal"),
        ["model.variant", "t2t/models/vit.py has no 'vit_smal'; did you mean vit_small? (known"],
    ),
    "variant of another backbone": (
        VIT,
        VIT.replace("vit_small", "t2t_vit_7"),
        ["model.variant", "t2t/models/vit.py has no 't2t_vit_7'"],
    ),
    "unknown option of a network": (
        VIT,
        VIT.replace("}", ", overrides: {mlp_ration: 2.0}}"),
        ["model.overrides.mlp_ration", "did you mean mlp_ratio?"],
    ),
    **{
        f"{option}: {value}": (
            VIT,
            VIT.replace("}", f", overrides: {{{option}: {value}}}}}"),
            [f"model.overrides.{option}: must be {wish}, got "],
        )
        for option, value, wish in (
            ("depth", "2.0", "of type int"),
            ("depth", "true", "of type int"),
            ("depth", "0", "between 1 and 65536"),
            ("embed_dim", 10**23, "between 1 and 65536"),
            ("attention", "sse", "one of plain, se"),
            ("mlp_ratio", "0.0", "a number greater than 0"),
            ("mlp_ratio", "9" * 400, "a number greater than 0"),
            ("drop_path_rate", "2.0", "at least 0 and less than 1"),
        )
    },
    "heads that do not divide": (
        VIT,
        VIT.replace("}", ", overrides: {num_heads: 7}}"),
        ["model.overrides", "a width of 768 is no multiple of 7 heads"],
    ),
    "unknown part to freeze": (
        "train: {seeds: 1, frozen: [norm, cls_token, pos_embed]}",
        "train: {seeds: 1, frozen: [bloks]}",
        ["cifar10_vit_small.train.frozen", "'bloks' is no part of", "did you mean blocks?"],
    ),
    "unknown augmentation": (
        "rand_augment: rand-m9",
        "rand_augment: rnd-m9",
        ["recipe.rand_augment: RandAugment 'rnd-m9-mstd0.5-inc1'", "must begin with 'rand'"],
    ),
    "augmentation of thousands of digits": (
        "rand_augment: rand-m9",
        f"rand_augment: rand-m{'9' * 5000}",
        ["recipe.rand_augment", "limit"],
    ),
    "unknown teacher": (
        "teacher: none ",
        "teacher: resnet_50 ",
        ["recipe.teacher", "torchvision has no model 'resnet_50'; did you mean resnet50?"],
    ),
    "a seed beyond 63 bits": (
        "seeds: [0, 1, 2]",
        f"seeds: [{2**63}]",
        ["digits.seeds.0", "less than 9223372036854775808"],
    ),
    "too large a batch": (
        "batch_size: 48\n",
        f"batch_size: {10**23}\n",
        ["digits.train.batch_size", "less than or equal to 1048576"],
    ),
    "too many threads": ("cpu_threads: 1 ", f"cpu_threads: {10**12} ", ["digits.cpu_threads"]),
    "broken YAML": ("betas: [0.9, 0.999]", "betas: [0.9", ["no valid YAML"]),
    "python tag": ("lr: 2.0e-3", "lr: !!python/object:os.system 1", ["no valid YAML"]),
    "alias": ("seeds: [0, 1, 2]", "seeds: &s [0]\n    cpu_threads: *s", ["aliases"]),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_line_with_its_place(write, mistake):
    right, wrong, said = MISTAKES[mistake]
    assert right in TEXT
    text = (
        TEXT.replace(right, wrong, 1)
        if mistake != "unknown backbone"
        else TEXT.replace(right, wrong)
    )
    with pytest.raises(ConfigError) as caught:
        check_params(write(text))
    message = str(caught.value)
    assert "\n" not in message and message.startswith("params.yaml")
    for part in said:
        assert part in message, message


def test_the_line_is_the_keys(write):
    text = TEXT.replace("lr: 2.0e-3", "lr: -1")
    with pytest.raises(ConfigError, match=f"params.yaml:{line_of(text, 'lr: -1')}: "):
        check_params(write(text))


# What only looks like YAML, and what is said of it.
UNREADABLE = {
    "no such day": ("2001-99-99", "month must be in 1..12"),
    "no integer": ("!!int foo", "invalid literal for int"),
    "no float": ("!!float abc", "could not convert string to float"),
    "no boolean": ("!!bool x", "KeyError: 'x'"),
    "no time": ("!!timestamp foo", "failed to construct timestamp"),
    "deep": ("[" * 400 + "]" * 400, "nested more than 50 deep"),
    "long": ("9" * 5000, "limit"),
}


@pytest.mark.parametrize("kind", UNREADABLE)
def test_what_yaml_cannot_read_is_told_in_one_line(write, kind):
    value, said = UNREADABLE[kind]
    text = TEXT.replace("lr: 2.0e-3", f"lr: {value}", 1)
    assert text != TEXT
    with pytest.raises(ConfigError) as caught:
        check_params(write(text))
    message = str(caught.value)
    assert re.match(r"params\.yaml(:\d+)? is no valid YAML: ", message) and said in message
    assert "\n" not in message


@pytest.mark.parametrize("text", ["", "- a\n", "just words\n", "\x00"])
def test_what_is_no_mapping(write, text):
    with pytest.raises(ConfigError, match=r"params\.yaml"):
        check_params(write(text))


def test_absent_and_huge_files(write, tmp_path):
    with pytest.raises(ConfigError, match="there is no such file"):
        check_params(tmp_path / "nowhere.yaml")
    with pytest.raises(ConfigError, match="larger than"):
        check_params(write("#" * (MAX_BYTES + 1)))
