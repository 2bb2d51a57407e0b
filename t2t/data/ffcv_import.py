"""Importing FFCV without its side effects."""

import contextlib
import importlib
import sys
import warnings
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import torch

from t2t.errors import EnvironmentProblem

HOW_TO_INSTALL = (
    "install it with `pip install ffcv==1.0.2` (its build needs libopencv-dev, "
    "libturbojpeg0-dev, pkg-config and g++)"
)


def import_ffcv() -> ModuleType:
    """The `ffcv` package, imported for use without its JIT.

    Three effects of a plain import are kept away: it sets torch's thread count to 1; it builds a
    numba dictionary of two entries, which costs seconds of compilation; and it imports distutils,
    which Python 3.12 dropped and setuptools takes a while to stand in for, to use nothing of it.

    Raises EnvironmentProblem where FFCV cannot be imported.
    """
    if "ffcv" in sys.modules:
        return sys.modules["ffcv"]
    threads = torch.get_num_threads()
    try:
        with warnings.catch_warnings(), _stand_ins():
            warnings.simplefilter("ignore")
            return importlib.import_module("ffcv")
    except (ImportError, OSError) as error:
        raise EnvironmentProblem(f"FFCV cannot be imported ({error}); {HOW_TO_INSTALL}") from None
    finally:
        torch.set_num_threads(threads)


@contextlib.contextmanager
def _stand_ins() -> Iterator[None]:
    """A plain `dict` for numba's, and an empty distutils, inside the block."""
    typed: Any = importlib.import_module("numba.typed")
    log: Any = ModuleType("distutils.log")
    log.warn = warnings.warn
    empty = {"distutils": ModuleType("distutils"), "distutils.log": log}
    before = {name: sys.modules[name] for name in empty if name in sys.modules}
    numba_dict = typed.Dict
    sys.modules.update(empty)
    typed.Dict = dict
    try:
        yield
    finally:
        typed.Dict = numba_dict
        for name in empty:
            del sys.modules[name]
        sys.modules.update(before)
