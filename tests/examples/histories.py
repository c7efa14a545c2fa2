"""Real histories, where they are at hand: `MESHLINE_REAL_DATA` is the folder with the files."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from meshline.workflow import Activity, Observation

FOLDER = Path(os.environ.get("MESHLINE_REAL_DATA", "../shared/data"))

Observe = Callable[[Activity, Any], Observation]


def real_cases(name: str) -> list[dict[str, Any]]:
    file = FOLDER / f"{name}.jsonl.gz"
    if not file.exists():
        pytest.skip(f"no {file.name}: set MESHLINE_REAL_DATA to the folder that holds it")
    with gzip.open(file, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def fold(observe: Observe, activities: list[Activity]) -> list[Observation]:
    """What the rule says about each activity; the memo goes through JSON, as in the log."""
    seen: list[Observation] = []
    memo: Any = None
    for activity in activities:
        seen.append(observe(activity, memo))
        memo = json.loads(json.dumps(seen[-1].memo))
    return seen


def owner_periods(activities: list[Activity], seen: list[Observation]) -> list[tuple[str, str]]:
    """Each owner, and from when; an activity that names none leaves it as it was."""
    periods: list[tuple[str, str]] = []
    for activity, observation in zip(activities, seen, strict=True):
        if observation.owner and (not periods or periods[-1][0] != observation.owner):
            periods.append((observation.owner, activity.time))
    return periods
