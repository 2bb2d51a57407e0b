"""The allocator: a GPU is one process's at a time, and free again when that is gone."""

import errno
import os
import subprocess
import sys

import pytest

from pipelines.flows import gpus
from pipelines.flows.gpus import GpuPool, visible_gpus
from t2t.errors import EnvironmentProblem


def test_two_pools_share_the_hosts_gpus(tmp_path):
    ours, theirs = GpuPool(["A", "B", "C"], tmp_path), GpuPool(["A", "B", "C"], tmp_path)
    first = ours.try_hold(2)
    assert first.ids == ("A", "B")
    assert theirs.try_hold(2) is None
    assert theirs.try_hold(1).ids == ("C",), "what could not be had as a whole is given back"
    first.release()
    assert theirs.try_hold(2).ids == ("A", "B")


def test_a_lock_that_is_another_users_is_opened_as_it_is(tmp_path, monkeypatch):
    """As Debian's kernel has it (fs.protected_regular), which refuses to create what is there."""
    GpuPool(["A"], tmp_path).try_hold(1).release()
    right = os.open

    def protected(path, flags, *mode):
        if flags & os.O_CREAT and not flags & os.O_EXCL and os.path.exists(path):
            raise PermissionError(errno.EACCES, "Permission denied")
        return right(path, flags, *mode)

    monkeypatch.setattr(os, "open", protected)
    assert GpuPool(["A", "B"], tmp_path).try_hold(2).ids == ("A", "B")


def test_two_that_make_a_lock_at_once_have_one(tmp_path, monkeypatch):
    right = os.open

    def late(path, flags, *mode):
        if flags & os.O_EXCL:
            os.close(right(path, flags, *mode))  # the other's
        return right(path, flags, *mode)

    monkeypatch.setattr(os, "open", late)
    assert GpuPool(["A"], tmp_path).try_hold(1).ids == ("A",)


def test_a_gpu_stays_taken_while_the_stage_lives(tmp_path):
    """The flow gives its lock back, as at its death; the stage inherited it."""
    pool = GpuPool(["A"], tmp_path)
    held = pool.try_hold(1)
    stage = subprocess.Popen(
        [sys.executable, "-c", "input()"], stdin=subprocess.PIPE, pass_fds=held.descriptors
    )
    held.release()
    assert pool.try_hold(1) is None
    stage.communicate(b"\n", timeout=30)
    assert pool.try_hold(1).ids == ("A",)


@pytest.mark.parametrize(
    "told, found",
    [
        (None, ["GPU-a1", "GPU-b2", "GPU-c3"]),
        ("2,0", ["GPU-c3", "GPU-a1"]),
        ("GPU-b", ["GPU-b2"]),
        ("", []),
        ("-1", []),
        ("0, -1,1", ["GPU-a1"]),
    ],
)
def test_cuda_visible_devices_narrows_them_down(told, found, monkeypatch):
    monkeypatch.setattr(gpus, "_driver_gpus", lambda: ["GPU-a1", "GPU-b2", "GPU-c3"])
    assert visible_gpus({} if told is None else {"CUDA_VISIBLE_DEVICES": told}) == found


@pytest.mark.parametrize("told", ["3", "GPU-x", "GPU-"])
def test_a_gpu_that_is_not_there_is_an_error(told, monkeypatch):
    monkeypatch.setattr(gpus, "_driver_gpus", lambda: ["GPU-a1", "GPU-b2", "GPU-c3"])
    with pytest.raises(EnvironmentProblem, match=f"{told} is none of the 3 GPUs"):
        visible_gpus({"CUDA_VISIBLE_DEVICES": told})
