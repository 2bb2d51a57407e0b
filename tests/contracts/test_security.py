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
UNSAFE_CALLS = {"eval", "exec", "compile", "__import__", "os.system", "os.popen", "os.execl"}
UNSAFE_CALLS |= {"torch.jit.load", "torch.hub.load", "subprocess.getoutput", "pandas.read_pickle"}
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


def problems(tree: ast.AST) -> Iterator[str]:
    """What in a module could run or overwrite what it should not."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (f"imports {a.name}" for a in node.names if a.name in UNSAFE_MODULES)
        elif isinstance(node, ast.ImportFrom) and node.module in UNSAFE_MODULES:
            yield f"imports {node.module}"
        elif isinstance(node, ast.Call):
            yield from problems_of_call(node, name_of(node.func))


def problems_of_call(call: ast.Call, name: str) -> Iterator[str]:
    last = name.rpartition(".")[2]
    if name in UNSAFE_CALLS:
        yield f"calls {name}"
    if name == "torch.load" and not is_true(keyword(call, "weights_only")):
        yield "torch.load without weights_only=True"
    if keyword(call, "allow_pickle") is not None:
        yield f"{name} with allow_pickle"
    shell = keyword(call, "shell")
    if shell is not None and not (isinstance(shell, ast.Constant) and shell.value is False):
        yield f"{name} with a shell"
    if last == "extractall" and keyword(call, "filter") is None:
        yield "extractall without a filter"
    if last == "extract":
        yield "extract, which has no whole-or-nothing"
    if last == "load_model" or last == "load_checkpoint" and name.startswith("mlflow"):
        yield f"{name}: flavours of MLflow may be pickles"
    if last == "YAML" and (kind := keyword(call, "typ")) is not None:
        if not isinstance(kind, ast.Constant) or kind.value not in ("safe", "rt"):
            yield "a YAML loader that is not safe"


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
    ],
)
def test_the_contract_sees(code):
    assert list(problems(ast.parse(code)))


@pytest.mark.parametrize(
    "code",
    ["torch.load(path, weights_only=True)", "model().eval()", "re.compile(x)", "np.load(path)"],
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
