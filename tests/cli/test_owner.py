"""Owners at the command line: who is away, who stands in, and giving it all to another."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import typer

from meshline.cli.exits import Exit
from meshline.cli.output import Form
from meshline.cli.owner import absences, away, back, handover, handovers
from meshline.events.codec import decode
from meshline.events.envelope import Event
from meshline.events.people_requests import AbsenceChangeRequested, HandoverRequested
from meshline.projections.directory_view import AbsenceRow
from meshline.projections.handovers_view import HandoverRow
from meshline.projections.owner_queries import Possession
from tests.cli.doubles import NOW, FakeViews, TestedCall, memory_log
from tests.cli.rows import RUN
from tests.cli.test_publish import ending
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


THEIRS = [
    Possession("approval", RUN, "deal", "order", "requested", NOW),
    Possession("exception", RUN, "ex-1", "order", "open", NOW),
    Possession("run", RUN, "", "order", "waiting", NOW),
]


async def test_what_is_handed_over_is_counted_and_not_done_without_yes() -> None:
    call = TestedCall(log=await memory_log(), views=FakeViews({"possessions": THEIRS}))

    assert await ending(handover(call, "user:ada", "user:bob")) is Exit.USAGE

    assert (
        "user:ada has 1 run, 1 exception, 1 approval, 0 tasks to hand over to user:bob"
        in call.words
    )
    assert await asked(call) == []


async def test_each_thing_is_asked_for_by_itself() -> None:
    views = FakeViews({"possessions": THEIRS})
    call = TestedCall(log=await memory_log(), views=views, wait_s=None, form=Form.jsonl)

    ended = await ending(handover(call, "user:ada", "user:bob", yes=True, reason="she left"))

    assert ended is Exit.OK
    said: list[Any] = [event.data for _, event in await asked(call)]
    assert said == [
        HandoverRequested(
            kind=thing.kind, about=thing.about, previous="user:ada", owner="user:bob",
            reason="she left",
        )
        for thing in THEIRS
    ]  # fmt: skip
    assert len(call.data.splitlines()) == 3
    assert "3 appended." in call.words


async def test_who_has_nothing_hands_nothing_over() -> None:
    call = TestedCall(log=await memory_log(), views=FakeViews({"possessions": []}))

    await handover(call, "user:ada", "user:bob", yes=True)

    assert "has 0 runs, 0 exceptions, 0 approvals" in call.words


async def test_a_list_says_what_went_from_whom_to_whom_by_whom_and_why() -> None:
    row = HandoverRow(
        RUN, 0, 7, NOW, "exception", "ex-1", "user:ada", "user:bob", "user:eve", None, "she left"
    )
    call = TestedCall(views=FakeViews({"handovers": [row]}))

    await handovers(call)

    line = call.data.splitlines()[1]
    for word in ("ex-1", "user:ada", "user:bob", "user:eve", "she left"):
        assert word in line
