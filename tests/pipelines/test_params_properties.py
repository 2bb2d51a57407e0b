"""params.yaml by drawn documents: what is right is read as it stands, what is wrong is named."""

import copy
import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, assume, given, reject, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from pipelines.check import check_params
from pipelines.params.runs import configs_of
from t2t.errors import ConfigError
from t2t.training.workspace import run_digest
from tests.faults.tally import Tally

pytestmark = pytest.mark.faults("params.yaml, drawn")
TREE = YAML(typ="safe").load((Path(__file__).resolve().parents[2] / "params.yaml").read_text())
# Documents in the short and in the full form.
FEW, MANY = 10, 250
MODELS = [TREE["rows"][row]["model"] for row in ("t2t_vit_14", "vit_small", "t2t_vit_t_14")]


def numbers(low: float, high: float) -> st.SearchStrategy[float]:
    return st.floats(low, high, allow_nan=False, allow_subnormal=False)


KNOBS: dict[str, st.SearchStrategy[Any]] = {
    "epochs": st.integers(20, 400),
    "cooldown_epochs": st.integers(0, 20),
    "warmup_epochs": st.integers(0, 19),
    "batch_size": st.integers(1, 4096),
    "lr": numbers(1e-3, 1.0),
    "weight_decay": numbers(0, 1),
    "betas": st.lists(numbers(0, 0.999), min_size=2, max_size=2),
    "drop_path": numbers(0, 0.9),
    "mix_prob": numbers(0, 1),
    "ema_decay": numbers(0, 0.99999),
    "train_fraction": numbers(0.01, 1),
    "normalization": st.sampled_from(["imagenet", "measured"]),
    "rand_augment": st.sampled_from(["none", "rand-m9-mstd0.5-inc1"]),
}
NAMES = st.from_regex(r"[a-z0-9][a-z0-9_-]{0,20}", fullmatch=True)
# Options that each of MODELS has, as they may be and as they may not.
OPTIONS: dict[str, st.SearchStrategy[Any]] = {
    "depth": st.integers(1, 40),
    "mlp_ratio": numbers(0.1, 8) | st.integers(1, 8),
    "drop_path_rate": numbers(0, 0.9),
    "attention": st.sampled_from(["plain", "se"]),
}
WRONG_OPTIONS = st.one_of(
    st.tuples(st.just("depth"), st.integers(max_value=0) | numbers(1, 9) | st.booleans()),
    st.tuples(st.just("mlp_ratio"), numbers(-9, 0) | st.booleans()),
    st.tuples(st.just("drop_path_rate"), numbers(1, 9) | st.just("0.1")),
    st.tuples(st.just("attention"), st.text("aes", max_size=4).filter(lambda kind: kind != "se")),
    st.tuples(NAMES.map(lambda name: f"no_{name}"), st.integers(1, 9)),
)


@st.composite
def documents(draw: st.DrawFn) -> dict[str, Any]:
    """Any params.yaml of one or two scales and some rows of all that makes them differ."""
    layers = st.fixed_dictionaries({}, optional=KNOBS)
    scales = {}
    for name in draw(st.lists(NAMES, min_size=1, max_size=2, unique=True)):
        scale = copy.deepcopy(TREE["scales"]["digits"])
        scale["train"] = draw(layers)
        scale["seeds"] = draw(st.lists(st.integers(0, 2**40), min_size=1, max_size=3, unique=True))
        scale["model"]["width_factor"] = draw(numbers(0.01, 1))
        scale["downstream"], scale["transfer"] = {}, {}
        scales[name] = scale
    rows = {}
    names = draw(st.lists(NAMES, min_size=4, max_size=7, unique=True))
    for number, name in enumerate(names[3:]):
        train = draw(layers)
        # No two rows may be one training: the rate tells them apart.
        train["lr"] = 0.001 + 0.01 * number + draw(numbers(0, 0.005))
        paper = {"table": 7, "block": draw(st.text("abc :#'\"-", max_size=9)), "top1_pct": 81.5}
        paper |= {"params_m": 21.5, "macs_g": 4.8, "delta_pct": None}
        rows[name] = {
            "title": draw(st.text("aä-:#'\"{}[]&*!|>%@ ", min_size=1, max_size=20)),
            "model": draw(networks()),
            "train": train,
            "baseline": draw(st.sampled_from([None, *rows])),
            "paper": draw(st.sampled_from([None, paper])),
        }
    scale = draw(st.sampled_from(list(scales)))
    tree = {"scale": scale, "scales": scales, "recipe": dict(TREE["recipe"]), "rows": rows}
    return copy.deepcopy(tree | draw(what_needs_rows(names[:3], rows, scales)))


@st.composite
def networks(draw: st.DrawFn) -> dict[str, Any]:
    """A network, with or without options of its own."""
    overrides = draw(st.none() | st.fixed_dictionaries({}, optional=OPTIONS))
    return draw(st.sampled_from(MODELS)) | ({} if overrides is None else {"overrides": overrides})


@st.composite
def what_needs_rows(
    draw: st.DrawFn, names: list[str], rows: dict[str, Any], scales: dict[str, Any]
) -> dict[str, Any]:
    """The sections that speak of rows, each empty or with one entry; `names` for those."""
    sections = ("derived", "released", "analyses", "downstream", "transfer_recipes", "transfers")
    tree: dict[str, Any] = {"tables": [], "claims": {}} | {section: {} for section in sections}
    derived, released, transfer = names
    needed = draw(st.sampled_from(list(rows)))
    common = {"title": "A title", "baseline": draw(st.sampled_from([None, needed])), "paper": None}
    if draw(st.booleans()):
        role = draw(st.sampled_from(["weights", "teacher"]))
        model = rows[needed]["model"] if role == "weights" else draw(networks())
        phase = draw(st.sampled_from(["train", "fine"]))
        says = {"needs": needed, "role": role, "phase": phase, "model": copy.deepcopy(model)}
        tree["derived"][derived] = common | says | {"train": {"lr": draw(numbers(0.001, 0.9))}}
    if draw(st.booleans()):
        says = {"model": draw(networks()), "phase": "train", "weights": "weights.pth"}
        says |= {"sha256": None, "expected_top1_pct": draw(st.none() | numbers(0, 100))}
        tree["released"][released] = common | says
    if draw(st.booleans()):
        for section in ("downstream", "transfer_recipes"):
            tree[section] = copy.deepcopy(TREE[section])
        for scale in scales.values():
            for key in ("downstream", "transfer"):
                scale[key] = copy.deepcopy(TREE["scales"]["digits"][key])
        says = {"needs": needed, "set": draw(st.sampled_from(list(tree["downstream"])))}
        says |= {"recipe": draw(st.sampled_from(list(tree["transfer_recipes"])))}
        says |= {"start": draw(st.sampled_from(["trained", "scratch"])), "train": {"seeds": 1}}
        says |= {"model": copy.deepcopy(rows[needed]["model"]), "title": "To", "paper": None}
        tree["transfers"][transfer] = says
    printed = [name for name, row in rows.items() if row["paper"] is not None]
    if printed and draw(st.booleans()):
        tree["tables"] = [{"table": 7, "title": "Its parts", "blocks": {"All": printed}}]
    if draw(st.booleans()):
        says = {"title": "A claim", "kind": "figure", "source": "text", "row": needed}
        tree["claims"]["claim"] = says
        tree["analyses"][needed] = {"images": draw(st.integers(1, 99)), "removal_images": 1}
    return tree


def written(tree: Any, path: Path, *, flow: bool | None = False, width: int = 100) -> Path:
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style, yaml.width, yaml.allow_unicode = flow, width, True
    yaml.representer.ignore_aliases = lambda data: True
    stream = io.StringIO()
    yaml.dump(tree, stream)
    try:  # a few flow mappings that this library writes it cannot read
        YAML(typ="safe", pure=True).load(stream.getvalue())
    except YAMLError:
        reject()
    path.write_text(stream.getvalue(), encoding="utf-8")
    return path


def resolved(path: Path) -> dict[tuple[str, str, int], tuple[dict, str]]:
    """The configuration and digest of every run of every row at every scale."""
    params = check_params(path)
    return {
        (scale, row, config.seed): (config.plain(), run_digest(config.plain(), {}, {}))
        for scale in params.tree["scales"]
        for row in params.tree["rows"]
        for config in configs_of(params, scale, row, None)
    }


def hold(all_faults: bool, tally: Tally, check: Callable[..., None], **drawn: Any) -> None:
    """Draws what `check` takes, a few times or often."""
    examples = MANY if all_faults else FEW
    tally.plan(examples)

    def counted(**values: Any) -> None:
        check(**values)
        tally.add(True)

    chosen = settings(
        max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck),
        phases=[Phase.explicit, Phase.reuse, Phase.generate],
    )  # fmt: skip
    try:
        chosen(given(**drawn)(counted))()
    except BaseException:
        tally.add(False)
        raise


def test_a_valid_document_is_read_as_it_stands_however_it_is_written(all_faults, tally, tmp_path):
    def check(tree: dict[str, Any], flow: bool | None, width: int) -> None:
        path = written(tree, tmp_path / "params.yaml", flow=flow, width=width)
        found = resolved(path)
        for (scale, row, _), (config, _) in found.items():
            layers = (tree["recipe"], tree["scales"][scale]["train"], tree["rows"][row]["train"])
            for key, value in {k: v for layer in layers for k, v in layer.items()}.items():
                right = tuple(value) if isinstance(value, list) else value
                assert config["recipe"][key] == right, key
            assert config["width_factor"] == tree["scales"][scale]["model"]["width_factor"]
        read = YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
        assert resolved(written(read, path)) == found
        assert len({digest for _, digest in found.values()}) == len(found)

    styles = {"flow": st.sampled_from([False, None]), "width": st.sampled_from([40, 200])}
    hold(all_faults, tally, check, tree=documents(), **styles)


def places(tree: dict[str, Any]) -> list[tuple[str | int, ...]]:
    """Every key that a document may have, by its path, but names of scales and rows."""
    scale, row = next(iter(tree["scales"])), next(iter(tree["rows"]))
    found = [("recipe", key) for key in tree["recipe"]]
    found += [("scales", scale, key) for key in tree["scales"][scale]]
    found += [("scales", scale, "shards", "image_size"), ("scales", scale, "model", "width_factor")]
    found += [("rows", row, key) for key in tree["rows"][row]]
    found += [("rows", row, "model", key) for key in ("backbone", "variant")]
    for section in ("derived", "released", "transfers", "analyses"):
        found += [(section, name, key) for name in tree[section] for key in tree[section][name]]
    # Without its row, a claim is wrong as a whole.
    found += [("claims", name, key) for name in tree["claims"] for key in ("title", "kind")]
    found += [("tables", 0, key) for table in tree["tables"] for key in table]
    return found


def change(tree: dict[str, Any], path: tuple[str | int, ...], how: str) -> tuple | None:
    """Makes the document wrong at `path`; the path that an error must name, None for no change."""
    parent: Any = tree
    for name in path[:-1]:
        parent = parent[name]
    last = path[-1]
    if how == "missing":
        del parent[last]
    elif how == "misspelt":
        parent[f"{last}x"] = parent.pop(last)
        # Either the key that is unknown or the one that is missing.
    elif how == "a mapping":
        parent[last] = {"surplus": 1}
    elif how == "a list":
        parent[last] = [[1]]
    elif how == "a string":
        if isinstance(parent[last], str | None) or last in ("rand_augment", "normalization"):
            return None
        parent[last] = "17x"
    else:
        if isinstance(parent[last], bool | dict | str | list | None):
            return None
        parent[last] = {"negative": -3, "not a number": float("nan")}[how]
    return path


HOWS = ("missing", "misspelt", "a mapping", "a list", "a string", "negative", "not a number")


def refusal(tree: dict[str, Any], path: Path) -> str:
    """The key that the one line names with which the document is refused."""
    file = written(tree, path)
    with pytest.raises(ConfigError) as caught:
        check_params(file)
    message = str(caught.value)
    assert "\n" not in message and message.startswith("params.yaml:")
    _, line, named, _ = re.split(":", message, maxsplit=3)
    assert 1 <= int(line) <= len(file.read_text().splitlines())
    return named.strip()


def test_an_invalid_document_is_refused_at_its_key(all_faults, tally, tmp_path):
    def check(data: st.DataObject, tree: dict[str, Any], how: str) -> None:
        # So that the recipe's own values are read, and the rows stay apart.
        for scale in tree["scales"].values():
            scale["train"] = {}
        for row in tree["rows"].values():
            row["train"] = {"lr": row["train"]["lr"]}
        path = change(tree, data.draw(st.sampled_from(places(tree))), how)
        assume(path is not None)
        named, wanted = refusal(tree, tmp_path / "params.yaml"), ".".join(map(str, path or ()))
        # The key itself or what is wrong below it; of a misspelt one, as it stands or should.
        right = named == wanted or named.startswith(f"{wanted}.")
        assert right or how == "misspelt" and named == f"{wanted}x", (named, wanted)

    drawn = {"data": st.data(), "tree": documents(), "how": st.sampled_from(HOWS)}
    hold(all_faults, tally, check, **drawn)


def test_a_network_that_cannot_be_made_is_refused_at_its_key(all_faults, tally, tmp_path):
    def check(data: st.DataObject, tree: dict[str, Any]) -> None:
        entries = [(section, name) for section in ("rows", "released") for name in tree[section]]
        # One that goes on from weights is first of all another network than that of the weights.
        derived = tree["derived"].items()
        entries += [("derived", name) for name, row in derived if row["role"] == "teacher"]
        section, name = data.draw(st.sampled_from(entries))
        model = tree[section][name]["model"]
        key = data.draw(st.sampled_from(["backbone", "variant", "overrides"]))
        wanted = f"{section}.{name}.model.{key}"
        if key == "overrides":
            option, value = data.draw(WRONG_OPTIONS)
            model.setdefault(key, {})[option] = value
            wanted += f".{option}"
        else:
            model[key] = data.draw(NAMES.map(lambda other: f"no_{other}"))
        # A network that others go on from must be theirs too, which is not the question here.
        for other in (*tree["derived"].values(), *tree["transfers"].values()):
            if other["needs"] == name and other.get("role") != "teacher":
                other["model"] = copy.deepcopy(model)
        assert refusal(tree, tmp_path / "params.yaml") == wanted

    hold(all_faults, tally, check, data=st.data(), tree=documents())
