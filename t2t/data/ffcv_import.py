"""Importing FFCV without its side effects."""

import importlib
import sys
import warnings
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

    Two effects of a plain import are kept away: it sets torch's thread count to 1, and it builds
    a numba dictionary of two entries, which costs seconds of compilation; a plain `dict` serves
    while it is imported. Raises EnvironmentProblem where FFCV cannot be imported.
    """
    if "ffcv" in sys.modules:
        return sys.modules["ffcv"]
    threads = torch.get_num_threads()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            typed: Any = importlib.import_module("numba.typed")
            numba_dict = typed.Dict
            typed.Dict = dict
            try:
                return importlib.import_module("ffcv")
            finally:
                typed.Dict = numba_dict
    except (ImportError, OSError) as error:
        raise EnvironmentProblem(f"FFCV cannot be imported ({error}); {HOW_TO_INSTALL}") from None
    finally:
        torch.set_num_threads(threads)
