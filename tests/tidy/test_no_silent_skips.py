"""The rule of tests/conftest.py: a skip is loud, and with CI=true it is a failure."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.tidy.source import REPOSITORY

SAMPLE = """
import pytest

@pytest.mark.skip(reason="no broker here")
def test_skipped(): ...

def test_skipped_late():
    pytest.skip("no database here")

@pytest.mark.xfail(strict=True)
def test_known_to_fail():
    assert False

def test_passes(): ...
"""
SAMPLE_MODULE = """
import pytest
pytest.importorskip("a_library_that_nobody_has")
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    (tmp_path / "conftest.py").write_text((REPOSITORY / "tests/conftest.py").read_text("utf-8"))
    (tmp_path / "test_sample.py").write_text(SAMPLE)
    return tmp_path


def run(folder: Path, ci: str) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")}
    return subprocess.run(
        [sys.executable, "-m", "pytest", "--color=no", "-p", "no:cacheprovider", str(folder)],
        check=False,
        cwd=folder,
        env=environment | {"CI": ci, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
    )


def test_a_skip_is_listed_with_its_reason(folder: Path) -> None:
    (folder / "test_module.py").write_text(SAMPLE_MODULE)

    result = run(folder, ci="")

    assert result.returncode == 0, result.stdout
    assert "3 NOT RUN" in result.stdout
    assert "test_sample.py::test_skipped: no broker here" in result.stdout
    assert "test_sample.py::test_skipped_late: no database here" in result.stdout
    assert "test_module.py: could not import" in result.stdout
    assert "1 passed, 3 skipped, 1 xfailed" in result.stdout.splitlines()[-1]


def test_a_skip_is_a_failure_with_ci_true(folder: Path) -> None:
    result = run(folder, ci="true")

    assert result.returncode == 1, result.stdout
    assert "nothing may be skipped with CI=true: no broker here" in result.stdout
    # A skip by mark comes while a test is set up: pytest calls that failure an error.
    assert "1 failed, 1 passed, 1 xfailed, 1 error" in result.stdout.splitlines()[-1]


def test_a_skipped_module_is_an_error_with_ci_true(folder: Path) -> None:
    (folder / "test_module.py").write_text(SAMPLE_MODULE)

    result = run(folder, ci="true")

    assert result.returncode != 0, result.stdout
    assert "a_library_that_nobody_has" in result.stdout
    assert "1 error" in result.stdout.splitlines()[-1]
