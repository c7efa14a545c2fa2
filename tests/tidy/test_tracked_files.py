"""What git keeps is for everybody: no path of one machine, no address of a package registry."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.tidy.source import REPOSITORY, tracked_files

# In parts, so that this file does not find itself.
FOLDERS = ["work", "root", "Users", "home/[a-z]+", "opt/wheels"]
HOSTS = [
    ("pypi", "org"),
    ("pythonhosted", "org"),
    ("registry", "npmjs", "org"),
    ("registry", "yarnpkg", "com"),
    ("repo1", "maven", "org"),
    ("repo", "maven", "apache", "org"),
    ("proxy", "golang", "org"),
    (r"artifactory\w*", r"\w+"),
    (r"nexus\w*", r"\w+"),
]
MACHINE_PATH = re.compile(r"(?<![\w.~}-])/(?:" + "|".join(FOLDERS) + r")/")
REGISTRY = re.compile(r"\b(?:" + "|".join(r"\.".join(host) for host in HOSTS) + r")\b")

BYTES_MAX = 1_000_000


def lines_of(path: Path) -> list[str]:
    """The lines of a text file; none of a binary one."""
    content = path.read_bytes()
    return [] if b"\0" in content[:8_000] else content.decode("utf-8", "replace").splitlines()


def found(pattern: re.Pattern[str]) -> list[str]:
    return [
        f"{path.relative_to(REPOSITORY)}:{number} {match.group()}"
        for path in tracked_files()
        for number, line in enumerate(lines_of(path), 1)
        if (match := pattern.search(line))
    ]


def test_no_file_knows_the_machine_it_was_written_on() -> None:
    assert found(MACHINE_PATH) == []


def test_no_file_names_a_package_registry() -> None:
    assert found(REGISTRY) == [], "which registry serves the packages is the installer's setting"


def test_no_file_is_a_burden_to_clone() -> None:
    heavy = [
        path.relative_to(REPOSITORY).as_posix()
        for path in tracked_files()
        if path.stat().st_size > BYTES_MAX
    ]

    assert heavy == [], f"more than {BYTES_MAX} bytes: make it when it is needed"


@pytest.mark.parametrize("path", ["/".join(["", "work", "x"]), '"/'.join(["", "root/.cache"])])
def test_a_machine_path_is_found(path: str) -> None:
    assert MACHINE_PATH.search(path)


@pytest.mark.parametrize("path", ["https://example.org/" + "work/x", "a/" + "work/b", "./root/x"])
def test_another_path_is_let_through(path: str) -> None:
    assert not MACHINE_PATH.search(path)


def test_a_registry_is_found_in_an_address() -> None:
    assert REGISTRY.search("https://" + ".".join(["files", "pythonhosted", "org"]) + "/packages")
    assert not REGISTRY.search("https://kafka.apache.org/documentation")
