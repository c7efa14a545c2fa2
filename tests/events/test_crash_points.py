"""Crash points: each stands somewhere, and the one that is asked for ends the process."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections import Counter

import pytest

from meshline.events.crash_points import EXIT_CODE, POINTS, VARIABLE, armed_by
from meshline.events.errors import SettingsInvalid
from tests.tidy.source import room_files

PROGRAM = """
from meshline.events.crash_points import crash_point
for number in (1, 2, 3):
    crash_point("append.before")
    crash_point("append.sent")
    print(number, flush=True)
"""


def passed(value: str) -> tuple[int, str, str]:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env=os.environ | {VARIABLE: value},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


def test_a_process_ends_at_the_passing_that_was_asked_for() -> None:
    assert passed("append.sent:2") == (EXIT_CODE, "1\n", "")
    assert passed("append.before") == (EXIT_CODE, "", "")


def test_without_the_variable_or_with_more_passings_than_there_are_nothing_happens() -> None:
    assert passed("")[:2] == (0, "1\n2\n3\n")
    assert passed("append.sent:4")[:2] == (0, "1\n2\n3\n")


@pytest.mark.parametrize(
    "value", ["append.send", "append.sent:0", "append.sent:x", "append.sent:-1"]
)
def test_what_can_not_be_asked_for_is_refused_with_what_can(value: str) -> None:
    with pytest.raises(SettingsInvalid, match=r"append\.sent:3"):
        armed_by(value)


def test_the_points_are_those_in_the_code() -> None:
    used = Counter(
        name for file in room_files() for name in re.findall(r'crash_point\("([^"]*)"\)', file.text)
    )

    assert used.keys() == POINTS.keys()
    # In the log in PostgreSQL and in the one in Kafka; what does not append stands at one place.
    assert {name for name, count in used.items() if count > 1} == {"append.before", "append.sent"}
