"""What SECURITY.md promises of the code: nothing is unpickled, evaluated or given to a shell."""

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from pipelines.environment import SETTINGS

ROOT = Path(__file__).resolve().parents[2]
CODE = [
    p
    for folder in ("t2t", "pipelines", "scripts", "benchmarks")
    for p in ROOT.glob(f"{folder}/**/*.py")
]
# Modules that run code which data bring along.
UNSAFE_MODULES = {
    "pickle",
    "cPickle",
    "_pickle",
    "dill",
    "cloudpickle",
    "joblib",
    "marshal",
    "shelve",
}
UNSAFE_MODULES |= {"yaml", "torch.package", "telnetlib"}
UNSAFE_CALLS = {"eval", "exec", "compile", "__import__", "shutil.unpack_archive"}
UNSAFE_CALLS |= {f"builtins.{name}" for name in ("eval", "exec", "compile", "__import__")}
UNSAFE_CALLS |= {f"os.{name}" for name in dir(os) if name.startswith(("execl", "spawnl"))}
UNSAFE_CALLS |= {"os.system", "os.popen", "posix.system", "importlib.__import__"}
UNSAFE_CALLS |= {"torch.jit.load", "torch.hub.load", "pandas.read_pickle"}
UNSAFE_CALLS |= {"subprocess.getoutput", "subprocess.getstatusoutput"}
UNSAFE_CALLS |= {"ruamel.yaml.load", "ruamel.yaml.load_all", "ruamel.yaml.unsafe_load"}
TORCH_LOAD = ("torch.load", "torch.serialization.load")
# What a module calls them by that does not say so.
CUSTOMARY = {"np": "numpy", "pd": "pandas"}
# Members are looked at before a zip is unpacked, which knows no filter.
UNFILTERED = {"t2t/data/sources/unpack.py": 1}


def name_of(node: ast.expr) -> str:
    """`torch.jit.load` of such an expression; ? stands for what has no name."""
    if isinstance(node, ast.Attribute):
        return f"{name_of(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else "?"


def keyword(call: ast.Call, name: str) -> ast.expr | None:
    return next((word.value for word in call.keywords if word.arg == name), None)


def is_true(node: ast.expr | None) -> bool:
    return isinstance(node, ast.Constant) and node.value is True


def is_unsafe_module(name: str) -> bool:
    return any(name == unsafe or name.startswith(f"{unsafe}.") for unsafe in UNSAFE_MODULES)


def aliases_of(tree: ast.AST) -> dict[str, str]:
    """Names of a module by what they stand for: {"t": "torch"} of `import torch as t`."""
    found = dict(CUSTOMARY)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for name in node.names:
                found |= {name.asname: name.name} if name.asname else {}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            found |= {n.asname or n.name: f"{node.module}.{n.name}" for n in node.names}
    # `load = torch.load` is an import by other means.
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Name | ast.Attribute):
            whole = whole_name(node.value, found)
            if whole in UNSAFE_CALLS or whole in TORCH_LOAD:
                found |= {name_of(target): whole for target in node.targets}
    return found


def whole_name(node: ast.expr, aliases: dict[str, str]) -> str:
    """`torch.load` of `t.load` where t is torch."""
    name = name_of(node)
    first, dot, rest = name.partition(".")
    return aliases.get(name, aliases.get(first, first) + dot + rest)


def problems(tree: ast.AST) -> Iterator[str]:
    """What in a module could run or overwrite what it should not."""
    aliases = aliases_of(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (f"imports {a.name}" for a in node.names if is_unsafe_module(a.name))
        elif isinstance(node, ast.ImportFrom):
            for name in (f"{node.module}.{a.name}" for a in node.names):
                if is_unsafe_module(name) or name in UNSAFE_CALLS or is_flavour(name):
                    yield f"imports {name}"
        elif isinstance(node, ast.Call):
            yield from problems_of_call(node, whole_name(node.func, aliases))


def is_flavour(name: str) -> bool:
    last = name.rpartition(".")[2]
    return last == "load_model" or last == "load_checkpoint" and name.startswith("mlflow")


def problems_of_call(call: ast.Call, name: str) -> Iterator[str]:
    last = name.rpartition(".")[2]
    if name in UNSAFE_CALLS or last == "read_pickle":
        yield f"calls {name}"
    if name in TORCH_LOAD and not is_true(keyword(call, "weights_only")):
        yield "torch.load without weights_only=True"
    if keyword(call, "allow_pickle") is not None:
        yield f"{name} with allow_pickle"
    if name == "numpy.load" and (len(call.args) > 2 or is_open(call)):
        yield "numpy.load with more than a path and a mode"
    if name == "importlib.import_module" and not is_known_module(call):
        yield "import_module of what may be any module"
    shell = keyword(call, "shell")
    if shell is not None and not (isinstance(shell, ast.Constant) and shell.value is False):
        yield f"{name} with a shell"
    if last == "extractall" and keyword(call, "filter") is None:
        yield "extractall without a filter"
    if last == "extract":
        yield "extract, which has no whole-or-nothing"
    if is_flavour(name):
        yield f"{name}: flavours of MLflow may be pickles"
    if last == "YAML":
        kind = keyword(call, "typ")
        if call.args or is_open(call) or not isinstance(kind, ast.Constant) or kind.value != "safe":
            yield "a YAML loader that is not safe"


def is_open(call: ast.Call) -> bool:
    """Whether it is given arguments that do not stand there: *these or **those."""
    stars = any(isinstance(argument, ast.Starred) for argument in call.args)
    return stars or any(word.arg is None for word in call.keywords)


def is_known_module(call: ast.Call) -> bool:
    """Whether it is written out and harmless, or below a package that is."""
    name = call.args[0] if call.args else None
    if isinstance(name, ast.JoinedStr):
        name = name.values[0]
        if isinstance(name, ast.FormattedValue):
            return name_of(name.value).rpartition(".")[2] == "__name__"
        return isinstance(name, ast.Constant) and str(name.value).startswith(("t2t.", "pipelines."))
    return isinstance(name, ast.Constant) and not is_unsafe_module(str(name.value))


@pytest.mark.parametrize("path", CODE, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_code_runs_what_data_say(path):
    found = list(problems(ast.parse(path.read_text())))
    allowed = UNFILTERED.get(str(path.relative_to(ROOT)), 0)
    assert found == ["extractall without a filter"] * allowed


@pytest.mark.parametrize(
    "code",
    [
        "import pickle",
        "from yaml import load",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "torch.load(path, weights_only=flag)",
        "np.load(path, allow_pickle=True)",
        "eval(text)",
        "exec(text)",
        "subprocess.run(f'ls {name}', shell=True)",
        "os.system('ls')",
        "tarfile.open(path).extractall(folder)",
        "tar.extract(member)",
        "YAML(typ='unsafe')",
        "mlflow.sklearn.load_model(uri)",
        "torch.jit.load(path)",
        "from torch import load; load(p)",
        "from torch import load as read; read(p)",
        "import torch as t; t.load(p)",
        "from torch.serialization import load; load(p)",
        "import torch; read = torch.load; read(p)",
        "from torch import package",
        "from pickle import loads",
        "import yaml.loader",
        "pd.read_pickle(path)",
        "import pandas; pandas.read_pickle(path)",
        "from pandas import read_pickle as r; r(path)",
        "from os import system",
        "import os as o; o.execlp(name, name)",
        "from builtins import eval as e",
        "import importlib; importlib.import_module('pickle')",
        "from importlib import import_module as load; load('pickle')",
        "import importlib; importlib.import_module(name)",
        "import importlib; importlib.import_module(f'{name}.x')",
        "from mlflow.pyfunc import load_model as l",
        "import mlflow.pyfunc as m; m.load_model(uri)",
        "YAML(kind)",
        "YAML(typ=kind)",
        "YAML()",
        "YAML('safe')",
        "YAML(**options)",
        "from ruamel.yaml import YAML as Y; Y(typ='unsafe')",
        "import ruamel.yaml as y; y.load(text)",
        "np.load(p, 'r', True)",
        "import numpy; numpy.load(p, **options)",
        "from numpy import load; load(*arguments)",
        "import shutil; shutil.unpack_archive(path)",
        "from shutil import unpack_archive",
    ],
)
def test_the_contract_sees(code):
    assert list(problems(ast.parse(code)))


@pytest.mark.parametrize(
    "code",
    [
        "torch.load(path, weights_only=True)",
        "from torch import load; load(p, weights_only=True)",
        "import torch as t; t.load(p, weights_only=True)",
        "model().eval()",
        "re.compile(x)",
        "np.load(path)",
        "np.load(path, 'r')",
        "from json import load; load(file)",
        "import json as torch; torch.load(file)",
        "from t2t.files import compile; compile(x)",
        "import shelves, ruamel.yaml",
        "YAML(typ='safe')",
        "YAML(typ='safe', pure=True).load(text)",
        "from ruamel.yaml import YAML as Y; Y(typ='safe')",
        "from os import path",
        "import os; os.environ",
        "import importlib; importlib.import_module('ffcv')",
        "import importlib; importlib.import_module(f't2t.models.{name}')",
        "import importlib; importlib.import_module(f'{__name__}.{name}')",
        "import shutil; shutil.copyfile(a, b)",
        "subprocess.run(command, shell=False)",
    ],
)
def test_the_contract_lets_pass(code):
    assert not list(problems(ast.parse(code)))


PICKLED = """
import os, pickle, sys, torch
class Marker:
    def __reduce__(self):
        return open, (sys.argv[1], "w")
path = sys.argv[1] + ".pt"
torch.save({"weights": Marker()}, path)
try:
    torch.load(path, weights_only=False)
except pickle.UnpicklingError:
    print("refused")
"""


def test_no_library_unpickles_weights_in_the_projects_environment(tmp_path):
    """torchvision's own downloads, for one, would."""
    marker = tmp_path / "marker"
    answers = [
        subprocess.run(
            [sys.executable, "-c", PICKLED, str(marker)], env={**os.environ, **settings},
            capture_output=True, text=True, check=True,
        ).stdout
        for settings in (SETTINGS, {name: "" for name in SETTINGS})
    ]  # fmt: skip
    assert answers == ["refused\n", ""] and marker.exists()


TEXTS = [ROOT / "Makefile", *ROOT.glob("prefect.yaml"), *ROOT.glob("scripts/*")]
TEXTS += [*ROOT.glob("docs/**/*.md"), ROOT / "README.md", *CODE]
STARTS = re.compile(r"\b(mlflow (?:ui|server)|prefect server start)\b")


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_servers_listen_on_this_machine_alone(path):
    text = path.read_text()
    assert "0.0.0.0" not in text and "[::]" not in text
    for host in re.findall(r"--host[= ]+[\"']?([\w.:$]+)", text):
        assert host in ("127.0.0.1", "localhost"), host
    if path.suffix != ".md":
        for line in text.splitlines():
            command = line.partition("#")[0]
            if STARTS.search(command) and path.suffix != ".py":
                assert "--host 127.0.0.1" in command, line


def test_only_names_are_put_into_commands():
    """DVC gives `cmd` to a shell; a name is letters, digits, _ and - (pipelines.check)."""
    stages = YAML(typ="safe").load((ROOT / "dvc.yaml").read_text())["stages"]
    names = {"scale", "key", "item.needs", "item.row", "item.set", "item.transfer"}
    for stage in stages.values():
        command = stage.get("do", stage)["cmd"]
        assert set(re.findall(r"\$\{([^}]*)\}", command)) <= names, command


def test_the_audit_says_that_it_is_offline_and_passes():
    nowhere = dict.fromkeys(("https_proxy", "HTTPS_PROXY", "all_proxy"), "http://127.0.0.1:9")
    command = ["sh", "scripts/audit.sh"]
    answer = subprocess.run(
        command, cwd=ROOT, env={**os.environ, **nowhere, "no_proxy": "", "NO_PROXY": ""},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    said = "audit: skipped, the database of vulnerabilities is out of reach\n"
    assert (answer.returncode, answer.stdout) == (0, said), answer.stderr


def test_the_lock_file_has_a_hash_for_every_package():
    text = (ROOT / "requirements.lock").read_text()
    packages = re.findall(r"^[a-z0-9][\w.-]*==.*?(?=^\S|\Z)", text, re.M | re.S)
    assert len(packages) > 100
    assert all("--hash=sha256:" in package for package in packages)
