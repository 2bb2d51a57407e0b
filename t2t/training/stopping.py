"""Being asked to stop: SIGTERM and SIGINT become a flag that the loop looks at after each step."""

import contextlib
import ctypes
import signal
import threading
from collections.abc import Iterator

_PR_SET_PDEATHSIG = 1
_ASKING_TO_STOP = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)


def leave_with_parent() -> None:
    """Has the kernel send this process SIGTERM as soon as its parent has died (Linux)."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)


class StopRequest:
    """Whether somebody has asked this process to stop, and by which signal."""

    def __init__(self) -> None:
        self.signal_name: str | None = None

    def __bool__(self) -> bool:
        return self.signal_name is not None

    def _note(self, number: int, _frame: object) -> None:
        self.signal_name = signal.Signals(number).name


@contextlib.contextmanager
def stop_on_signal() -> Iterator[StopRequest]:
    """Turns SIGTERM and SIGINT into a StopRequest inside the block (in the main thread only).

    Inside another such block it is that one's, so that nothing asked for on the way is missed.
    """
    around = getattr(signal.getsignal(signal.SIGTERM), "__self__", None)
    if isinstance(around, StopRequest):
        yield around
        return
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    with handlers_restored():
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, request._note)
        yield request


@contextlib.contextmanager
def handlers_restored() -> Iterator[None]:
    """Lets the block set what answers to being asked to stop, and sets it back (main thread)."""
    before = {number: signal.getsignal(number) for number in _ASKING_TO_STOP}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
