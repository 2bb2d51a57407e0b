"""What the fault tests inject and what held: counted, and shown as a table at the end.

A test that is marked `faults("a kind of fault")` counts as one fault, which held if it passed. One
that takes the fixture `tally` says how many it injected, and how many held. With `--all-faults`,
as in `make faults`, tests inject as many as they can, and where none is chosen by its name the
table goes to reports/faults.md.
"""

import datetime
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

REPORT = Path(__file__).resolve().parents[2] / "reports" / "faults.md"
ABOUT = """# Faults

Written by `make faults` ({date}). Each fault is injected on purpose, by a seeded draw or at a named
place. It held if the outcome was right to the byte, or one sentence that names the file, and if the
next run went on as if nothing had been.

"""


@dataclass
class Count:
    """Faults of one kind so far."""

    injected: int = 0
    held: int = 0
    skipped: int = 0
    seconds: float = 0.0


@dataclass
class Tally:
    """What one test has injected."""

    injected: int = 0
    held: int = 0

    def add(self, held: bool) -> None:
        """One fault more."""
        self.injected += 1
        self.held += held


TALLY = pytest.StashKey[Tally]()
# How a test's count reaches the process that prints the table, which may be another.
PROPERTY = "faults"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--all-faults", action="store_true", help="inject all faults, write the table")


@pytest.fixture
def all_faults(request: pytest.FixtureRequest) -> bool:
    """Whether tests take their full form, of minutes."""
    return request.config.getoption("--all-faults")


@pytest.fixture
def tally(request: pytest.FixtureRequest) -> Tally:
    return request.node.stash.setdefault(TALLY, Tally())


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(Table())


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    report = yield
    marker = item.get_closest_marker("faults")
    if marker is not None and (report.when == "call" or report.skipped):
        own = item.stash.get(TALLY, Tally())
        found = (own.injected, own.held) if own.injected else (1, int(report.passed))
        report.user_properties.append((PROPERTY, (marker.args[0], *found)))
    return report


class Table:
    """Adds up what the tests report, in the process that reports it."""

    def __init__(self) -> None:
        self.counts: dict[str, Count] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        for kind, injected, held in (x for name, x in report.user_properties if name == PROPERTY):
            count = self.counts.setdefault(kind, Count())
            if report.skipped:
                count.skipped += 1
            else:
                count.injected += injected
                count.held += held
            count.seconds += report.duration

    def pytest_terminal_summary(
        self, terminalreporter: pytest.TerminalReporter, config: pytest.Config
    ) -> None:
        if not self.counts:
            return
        text = table(self.counts)
        terminalreporter.section("faults")
        terminalreporter.write_line(text)
        if _is_whole(config):
            today = datetime.date.today()
            REPORT.write_text(ABOUT.format(date=today) + text + "\n")


def _is_whole(config: pytest.Config) -> bool:
    """Whether everything was asked for: of a part, the table would pass for the whole."""
    named = config.args_source is not pytest.Config.ArgsSource.TESTPATHS
    return config.getoption("--all-faults") and not (named or config.option.keyword)


def table(counts: dict[str, Count]) -> str:
    """The counts in Markdown, a line for each kind."""
    lines = ["| Fault | Injected | Held | Seconds |", "|:--|--:|--:|--:|"]
    for kind, count in sorted(counts.items()):
        skipped = f" ({count.skipped} skipped)" if count.skipped else ""
        lines.append(f"| {kind}{skipped} | {count.injected} | {count.held} | {count.seconds:.0f} |")
    injected, held = (sum(getattr(c, key) for c in counts.values()) for key in ("injected", "held"))
    seconds = sum(count.seconds for count in counts.values())
    return "\n".join([*lines, f"| All | {injected:,} | {held:,} | {seconds:.0f} |"])
