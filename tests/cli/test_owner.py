"""Owners at the command line: who is away, and who stands in."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
import typer

from meshline.cli.output import Form
from meshline.cli.owner import absences, away, back
from meshline.events.codec import decode
from meshline.events.envelope import Event
from meshline.events.people_requests import AbsenceChangeRequested
from meshline.projections.directory_view import AbsenceRow
from tests.cli.doubles import NOW, FakeViews, TestedCall, memory_log
from tests.events.publish.doubles import everything


async def asked(call: TestedCall) -> list[tuple[int, Event[AbsenceChangeRequested]]]:
    assert call._log is not None
    return [(r.partition, decode(r.value)) for r in await everything(call._log)]


async def test_every_partition_is_asked_the_same_at_one_time() -> None:
    call = TestedCall(log=await memory_log(), wait_s=None, form=Form.jsonl)

    await away(
        call, "user:ada", substitute="user:bob", since="2026-11-20",
        until="2026-12-01T09:00:00+01:00", reason="holidays",
    )  # fmt: skip

    requests = await asked(call)
    assert [partition for partition, _ in requests] == [0, 1]
    assert len({(event.time, event.data) for _, event in requests}) == 1
    assert requests[0][1].data == AbsenceChangeRequested(
        user="user:ada",
        substitute="user:bob",
        since=datetime(2026, 11, 20, tzinfo=UTC),
        until=datetime(2026, 12, 1, 8, tzinfo=UTC),
        reason="holidays",
    )


async def test_how_long_is_counted_from_now() -> None:
    call = TestedCall(log=await memory_log(), wait_s=None)

    await away(call, "user:ada", substitute="user:bob", until="5d")

    (_, event), _ = await asked(call)
    assert (event.data.since, event.data.until) == (NOW, NOW + timedelta(days=5))


async def test_who_is_back_has_no_substitute_from_now_on() -> None:
    call = TestedCall(log=await memory_log(), wait_s=None)

    await back(call, "user:ada")

    (_, event), _ = await asked(call)
    assert (event.data.user, event.data.substitute) == ("user:ada", None)
    assert event.data.since == event.data.until


async def test_a_time_that_is_none_is_a_mistake_of_usage() -> None:
    with pytest.raises(typer.BadParameter, match="'soon' is no duration"):
        await away(TestedCall(), "user:ada", substitute="user:bob", until="soon")
    with pytest.raises(typer.BadParameter, match="'2026-14-01' is no time"):
        await away(TestedCall(), "user:ada", substitute="user:bob", until="2026-14-01")


async def test_a_list_says_who_is_away_until_when_and_who_stands_in() -> None:
    row = AbsenceRow(
        "user:ada", "user:bob", NOW, NOW + timedelta(days=1), NOW, "user:ada", "holidays"
    )
    call = TestedCall(views=FakeViews({"absences": [row]}))

    await absences(call)

    line = call.data.splitlines()[1]
    assert "user:ada" in line and "user:bob" in line and "holidays" in line
