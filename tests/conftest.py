"""Every test gets the environment back as it was; one in which the server had a defect of its own fails; and a run in which no test ran is a failure.

With FAIL_SKIPPED set, as in CI, a skipped test fails as well unless its reason is in MAY_SKIP.
"""

import logging
import os
from collections.abc import Generator, Iterator
from typing import TypeVar

import pytest
from hypothesis import settings

settings.register_profile("starling", deadline=None)  # how long an example takes says nothing about what it tests
settings.load_profile("starling")

MAY_SKIP = {
    "gopls is not installed": "neither pip nor npm has it, and Debian's is older than the protocol that the tests use",
    "csharp-ls is not installed": "neither pip nor npm has it",
    "rust-analyzer is not installed": "only rustup has a current one",
    "torchao is not installed": "where it is, transformers loads it into every process, which takes a second or two",
    "it knows no edits of a part": "depends on the server, not on the machine",
}
FAIL_SKIPPED = bool(os.environ.get("FAIL_SKIPPED"))
ALL_SKIPPED = pytest.StashKey[bool]()
Report = TypeVar("Report", pytest.TestReport, pytest.CollectReport)


@pytest.fixture(autouse=True)
def environment() -> Iterator[None]:
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


class _Defects(logging.Handler):
    """Keeps what the server logs of its own defects: it goes on after one, so nothing else would fail."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.found: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if "a defect in Starling" in record.getMessage():
            self.found.append(self.format(record))


@pytest.fixture(autouse=True)
def defects() -> Iterator[None]:
    """A test during which the server had a defect fails."""
    handler = _Defects()
    logging.getLogger("lsp_server").addHandler(handler)
    yield
    logging.getLogger("lsp_server").removeHandler(handler)
    assert not handler.found, handler.found[0]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """One more than there are processors: many tests wait for processes of theirs."""
    return (os.cpu_count() or 1) + 1


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    report.sections = [(name, sendable(text)) for name, text in report.sections]
    return fail_if_skipped(report)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    return fail_if_skipped((yield))


def sendable(text: str) -> str:
    """What was logged, for another process: xdist sends UTF-8, which has no form of half a character."""
    return text.encode("utf-8", "backslashreplace").decode()


def fail_if_skipped(report: Report) -> Report:
    """In CI, make a skip a failure. A skip's `longrepr` is its file, line and reason; that of an expected failure is not."""
    if FAIL_SKIPPED and report.skipped and isinstance(report.longrepr, tuple):
        reason = report.longrepr[2].removeprefix("Skipped: ")
        if not reason.startswith(tuple(MAY_SKIP)):
            report.outcome = "failed"
            report.longrepr = f"skipped, which CI does not allow (MAY_SKIP in tests/conftest.py): {reason}"
    return report


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """pytest itself passes a run in which every test was skipped. Several processes' reports are together here; of these none has a terminal."""
    terminal: pytest.TerminalReporter | None = session.config.pluginmanager.get_plugin("terminalreporter")
    if terminal is None or exitstatus != pytest.ExitCode.OK or session.config.option.collectonly:
        return
    if not terminal.stats.keys() & {"passed", "xfailed"}:
        session.exitstatus = pytest.ExitCode.NO_TESTS_COLLECTED
        session.config.stash[ALL_SKIPPED] = True


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if ALL_SKIPPED in terminalreporter.config.stash:
        terminalreporter.section("no test ran: all were skipped", red=True)
