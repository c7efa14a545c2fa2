"""Feeding a history: all that a file says goes in, with its own times, and twice is once."""

from __future__ import annotations

import gzip
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pytest
import typer

from meshline.cli.errors import CommandRefused
from meshline.cli.exits import Exit
from meshline.cli.feed import feed
from meshline.cli.output import Form
from meshline.events.codec import decode
from meshline.events.log.memory import MemoryLog
from meshline.events.requests import ActivityReported, TriggerReceived
from tests.cli.doubles import TestedCall, memory_log
from tests.cli.test_publish import ending
from tests.events.publish.doubles import everything
from tests.tidy.source import REPOSITORY

INCIDENTS = str(REPOSITORY / "examples/incidents.py")

CASES = [
    {
        "case": f"1-{number}",
        "impact": "Low",
        "product": "PROD1",
        "country": "se",
        "events": [
            {
                "time": f"2011-03-0{day}T10:00:00+01:00",
                "activity": "Accepted" if day < 3 else "Completed",
                "transition": "In Progress" if day < 3 else "Closed",
                "resource": "Ada",
                "group": f"G{day}",
            }
            for day in (1, 2, 3)
        ],
    }
    for number in range(4)
]


@pytest.fixture
def history(tmp_path: Path) -> Path:
    path = tmp_path / "incidents.jsonl.gz"
    with gzip.open(path, "wb") as file:
        file.write(b"\n".join(orjson.dumps(case) for case in CASES))
    return path


async def fed(log: MemoryLog, *files: Path) -> TestedCall:
    call = TestedCall(Form.jsonl, log=log, wait_s=None)
    assert await ending(feed(call, INCIDENTS, list(files))) is Exit.OK
    return call


async def requests(log: MemoryLog, kind: type) -> list[Any]:
    events = (decode(record.value) for record in await everything(log))
    return [event for event in events if isinstance(event.data, kind)]


async def test_every_case_and_every_activity_goes_in(history: Path) -> None:
    log = await memory_log()

    call = await fed(log, history)

    assert (call.values[0]["cases"], call.values[0]["activities"]) == (4, 12)
    assert len(await requests(log, TriggerReceived)) == 4
    assert len(await requests(log, ActivityReported)) == 12


async def test_times_are_those_of_the_history_and_activities_keep_their_order(
    history: Path,
) -> None:
    log = await memory_log()

    await fed(log, history)

    triggers = await requests(log, TriggerReceived)
    assert {event.time for event in triggers} == {datetime(2011, 3, 1, 9, tzinfo=UTC)}
    run_id = triggers[0].subject
    times = [e.time.day for e in await requests(log, ActivityReported) if e.subject == run_id]
    assert times == [1, 2, 3]


async def test_a_second_time_everything_has_the_ids_of_the_first(history: Path) -> None:
    first, second = await memory_log(), await memory_log()

    await fed(first, history)
    await fed(second, history)

    ids = [
        sorted(event.id for event in await requests(log, ActivityReported))
        for log in (first, second)
    ]
    assert ids[0] == ids[1]
    assert len({*ids[0]}) == 12


async def test_a_line_that_can_not_be_read_stops_it_before_anything_is_published(
    tmp_path: Path,
) -> None:
    path = tmp_path / "wrong.jsonl"
    path.write_text('{"case": "1-1", "events": []}\n{"no": "case"}\n')
    log = await memory_log()

    with pytest.raises(CommandRefused, match="case 2"):
        await feed(TestedCall(log=log), INCIDENTS, [path])

    assert await everything(log) == []


async def test_an_app_without_an_observed_workflow_can_not_be_fed(history: Path) -> None:
    app = str(REPOSITORY / "examples/lead_intake.py")

    with pytest.raises(CommandRefused, match="observed workflows: none"):
        await feed(TestedCall(), app, [history])


async def test_a_file_that_is_not_there_is_a_mistake_of_usage() -> None:
    with pytest.raises(typer.BadParameter, match="no file"):
        await feed(TestedCall(), INCIDENTS, [Path("not-there.jsonl")])
