"""A bar where somebody looks, lines where nobody does."""

import io
import sys

from t2t.data import progress
from t2t.data.progress import Progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_terminal_gets_a_bar_with_its_speed(monkeypatch, capsys):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with Progress("writing train", 4) as bar:
        for _ in range(4):
            bar.advance()
    shown = terminal.getvalue()
    assert "writing train: 100%" in shown and "4/4" in shown and "images/s" in shown
    assert capsys.readouterr().out == ""


def test_elsewhere_a_line_comes_now_and_then(monkeypatch, capsys):
    clock = iter(range(0, 10_000, 25))
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    with Progress("writing train", 1281) as bar:
        for _ in range(10):
            bar.advance()
        bar.say("done")
    told = capsys.readouterr()
    assert told.err == "" and told.out.splitlines() == [
        "writing train: 3 of 1,281 images, 0 images/s",
        "writing train: 6 of 1,281 images, 0 images/s",
        "writing train: 9 of 1,281 images, 0 images/s",
        "done",
    ]
