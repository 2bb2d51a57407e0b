"""A command in a session of its own, its output in a file, asked to stop before it is made to.

A pipe instead of the file would kill the command at its next line once its reader is gone.
"""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

_POLL_S = 0.05
# What even SIGKILL does not end within this hangs in the kernel, or waits to be buried by another.
_LAST_WAIT_S = 5.0
TAIL_LINES = 8
_TAIL_BYTES = 16 << 10


class Session:
    """A command that has been started."""

    def __init__(
        self,
        words: Sequence[str],
        folder: Path,
        environment: Mapping[str, str],
        log: Path,
        keep_open: Sequence[int] = (),
    ):
        """Appends to `log`. keep_open: file descriptors that the command inherits."""
        log.parent.mkdir(parents=True, exist_ok=True)
        with open(log, "ab") as stream:
            self._process = subprocess.Popen(
                words,
                cwd=folder,
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                pass_fds=tuple(keep_open),
            )

    def wait(self, is_to_stop: Callable[[], bool], patience_s: float) -> int:
        """The exit code, negative for a signal.

        Once `is_to_stop`, every process of the session is sent SIGTERM, upon which a training saves
        its state, and after `patience_s` SIGKILL.
        """
        while (code := self._process.poll()) is None:
            if is_to_stop():
                return self._stop(patience_s)
            time.sleep(_POLL_S)
        return code

    def _stop(self, patience_s: float) -> int:
        for number, seconds in ((signal.SIGTERM, patience_s), (signal.SIGKILL, _LAST_WAIT_S)):
            self._signal(number)
            give_up_at = time.monotonic() + seconds
            while time.monotonic() < give_up_at:
                code = self._process.poll()
                if code is not None and not self._is_alive():
                    return code
                time.sleep(_POLL_S)
        return -signal.SIGKILL if (code := self._process.poll()) is None else code

    def _is_alive(self) -> bool:
        """Whether a process of the session is left: a shell may be gone before its command is."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, 0)
            return True
        return False

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)


def last_lines(log: Path, lines: int = TAIL_LINES) -> list[str]:
    """The end of a log, without the states of progress bars that were drawn over."""
    try:
        with open(log, "rb") as stream:
            stream.seek(max(0, log.stat().st_size - _TAIL_BYTES))
            text = stream.read().decode(errors="replace")
    except OSError:
        return []
    kept = [line.rpartition("\r")[2].rstrip() for line in text.split("\n")]
    return [line for line in kept if line][-lines:]
