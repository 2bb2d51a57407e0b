"""The devices that rows train on, and how runs are shared out among them."""

import math
from dataclasses import dataclass

from t2t.training.parallel import at_once, processes_of_each, slots


@dataclass(frozen=True)
class Fleet:
    """`devices` GPUs, or computers without one that each train `runs_on_each` runs at once.

    The runs of a row are side by side, as t2t.training.parallel has them: with more GPUs than runs
    each run has several, and is taken to be as many times as fast.
    """

    devices: int
    is_gpu: bool
    runs_on_each: int = 1

    def devices_of_each(self, runs: int, most: int) -> int:
        """How many devices, `most` at most, train one of a row's `runs` together."""
        return max(1, min(most, self.devices // runs)) if self.is_gpu else 1

    def elapsed_h(self, runs: int, run_h: float, most: int) -> float:
        """Hours from the start to the end of a row whose runs take `run_h` on one device each, and
        can be shared by `most`."""
        together = self.devices_of_each(runs, most)
        at_once = max(1, self.devices // together) * self.runs_on_each
        return math.ceil(runs / at_once) * run_h / together

    def device_h(self, runs: int, run_h: float) -> float:
        """Device-hours of the row."""
        return runs * run_h / min(runs, self.runs_on_each)


def present_fleet(cpu_threads: int) -> Fleet:
    """This computer. Raises EnvironmentProblem for a T2T_SLOTS that is no number."""
    import torch

    found = slots(cpu_threads)
    if torch.cuda.is_available():
        return Fleet(found, is_gpu=True)
    return Fleet(1, is_gpu=False, runs_on_each=at_once(found))


def devices_here(runs: int, cpu_threads: int, most: int) -> int:
    """How many devices, `most` at most, train one of a row's runs on this computer, as journals
    saw it."""
    return processes_of_each(runs, slots(cpu_threads), most)
