"""What holds for every test: no silent skips, and one set of Hypothesis settings."""

from __future__ import annotations

import os
from collections.abc import Generator

import pytest
from hypothesis import HealthCheck, settings

pytest_plugins = [
    "tests.services.chromium",
    "tests.services.kafka",
    "tests.services.postgres",
]

# A deadline would make a slow machine fail a right test. With CI=true the examples are the same
# in every run, so a red build is about the change; `thorough` is for a search by hand:
# `pytest --hypothesis-profile=thorough`.
settings.register_profile("default", deadline=None, max_examples=100)
settings.register_profile("ci", settings.get_profile("default"), derandomize=True)
settings.register_profile(
    "thorough", deadline=None, max_examples=5_000, suppress_health_check=[HealthCheck.too_slow]
)

NOTHING_MAY_BE_SKIPPED = os.environ.get("CI", "").lower() in {"1", "true"}

settings.load_profile("ci" if NOTHING_MAY_BE_SKIPPED else "default")


def skip_reason(report: pytest.TestReport | pytest.CollectReport) -> str | None:
    """Return why the test or module was skipped; None if it was not, or is an expected failure."""
    if not report.skipped or hasattr(report, "wasxfail"):
        return None
    if isinstance(report.longrepr, tuple):
        return str(report.longrepr[2]).removeprefix("Skipped: ")
    return str(report.longrepr)


def refuse_skip(report: pytest.TestReport | pytest.CollectReport) -> None:
    """Turn a skip into a failure when CI=true: what was not run was not checked."""
    reason = skip_reason(report)
    if NOTHING_MAY_BE_SKIPPED and reason is not None:
        report.outcome = "failed"
        report.longrepr = (
            f"Skipped, but nothing may be skipped with CI=true: {reason}. "
            "Give the test what it needs, or remove it."
        )


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    refuse_skip(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    refuse_skip(report)
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    skipped = [
        (report.nodeid, reason)
        for report in terminalreporter.getreports("skipped")
        if (reason := skip_reason(report)) is not None
    ]
    if skipped:
        terminalreporter.section(f"{len(skipped)} NOT RUN", sep="!", yellow=True, bold=True)
        for nodeid, reason in skipped:
            terminalreporter.line(f"{nodeid}: {reason}", yellow=True)
