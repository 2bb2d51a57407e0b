"""What the fault tests inject and what held: counted, and shown as a table at the end.

A test that is marked `faults("a kind of fault")` counts as one fault, which held if it passed. One
that takes the fixture `tally` says how many it plans, how many it injected, and how many held; if
it fails although all of them held, one more that did not is counted. With `--all-faults`, as in
`make faults`, tests inject as many as they can, fewer than planned are a failure, and where none is
chosen by its name the table goes to reports/faults.md.
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
    """Faults of one kind so far; missing are those that tests planned and did not inject."""

    injected: int = 0
    missing: int = 0
    held: int = 0
    skipped: int = 0
    seconds: float = 0.0


@dataclass
class Tally:
    """What one test has injected, and how much it means to where it knows that beforehand."""

    injected: int = 0
    held: int = 0
    planned: int = 0

    def plan(self, count: int) -> None:
        """So many are going to be injected, beside those of earlier calls."""
        self.planned += count

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
    if marker is not None and (report.when == "call" or not report.passed):
        # The report of a setup or of what comes after a test counts where it is no success.
        own = item.stash.get(TALLY, Tally()) if report.when == "call" else Tally()
        report.user_properties.append((PROPERTY, (marker.args[0], *_counted(own, report))))
    return report


def _counted(own: Tally, report: pytest.TestReport) -> tuple[int, int, int]:
    """How many were injected, how many of them held, how many are missing.

    Whatever a test has tallied, its own failure is a fault that did not hold.
    """
    missing = max(0, own.planned - own.injected)
    if report.failed and own.injected == own.held:
        return own.injected + 1, own.held, missing
    is_counted = own.injected or own.planned
    return (own.injected, own.held, missing) if is_counted else (1, 1, 0)


class Table:
    """Adds up what the tests report, in the process that reports it."""

    def __init__(self) -> None:
        self.counts: dict[str, Count] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        found = (values for name, values in report.user_properties if name == PROPERTY)
        for kind, injected, held, missing in found:
            count = self.counts.setdefault(kind, Count())
            if report.skipped:
                count.skipped += 1
            else:
                count.injected += injected
                count.held += held
                count.missing += missing
            count.seconds += report.duration

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Fewer faults than planned, or one that did not hold, are a failure, where all of them
        were asked for."""
        is_short = any(
            count.missing or count.held < count.injected for count in self.counts.values()
        )
        if session.config.getoption("--all-faults") and is_short and not session.exitstatus:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

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
        notes = {"skipped": count.skipped, "planned and not injected": count.missing}
        note = ", ".join(f"{number} {what}" for what, number in notes.items() if number)
        name = f"{kind} ({note})" if note else kind
        lines.append(f"| {name} | {count.injected} | {count.held} | {count.seconds:.0f} |")
    injected, held = (sum(getattr(c, key) for c in counts.values()) for key in ("injected", "held"))
    seconds = sum(count.seconds for count in counts.values())
    return "\n".join([*lines, f"| All | {injected:,} | {held:,} | {seconds:.0f} |"])
