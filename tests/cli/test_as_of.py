"""A past moment on the command line: how it is typed, and what the lists then show."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any, Literal, NamedTuple, cast

import pytest
import typer

from meshline.cli.approval import list_approvals
from meshline.cli.as_of import By, looked_at, moment_typed, run_seen
from meshline.cli.exception import list_exceptions
from meshline.cli.output import Form
from meshline.cli.owner import list_owners
from meshline.cli.run import list_runs, show
from meshline.cli.task import list_tasks
from meshline.events.log import EventLog
from meshline.projections.as_of import Moment
from meshline.projections.errors import NotFound
from meshline.projections.queries import Views
from tests.cli.doubles import NOW, FakeViews, TestedCall
from tests.projections.filled_views import filled_views
from tests.projections.streams import fill, new_log, write

LISTS: tuple[Any, ...] = (list_runs, list_owners, list_exceptions, list_approvals, list_tasks)


def test_a_time_is_utc_unless_it_says_otherwise() -> None:
    assert moment_typed(None, None, None) is None
    noon = datetime(2026, 11, 17, 14, 5, tzinfo=UTC)
    assert moment_typed("2026-11-17 14:05", None, None) == Moment(noon, "event")
    assert moment_typed("2026-11-17T15:05+01:00", None, By.recorded) == Moment(noon, "recorded")
    assert moment_typed(None, "3:1234, 0:7", None) == Moment(offsets={3: 1234, 0: 7})


@pytest.mark.parametrize(
    ("typed", "says"),
    [
        (("last Tuesday", None, None), "is no time"),
        ((None, "3-1234", None), "is no position"),
        ((None, None, By.recorded), "expected --as-of too"),
    ],
)
def test_what_is_no_moment_is_refused_with_what_was_expected(typed: Any, says: str) -> None:
    with pytest.raises(typer.BadParameter, match=says):
        moment_typed(*typed)


class Filled(NamedTuple):
    log: EventLog
    views: Views

    def call(self, moment: Moment) -> TestedCall:
        call = TestedCall(Form.jsonl, log=self.log, views=cast(FakeViews, self.views))
        call.moment = moment
        return call


@pytest.fixture
async def filled(postgres_address: str) -> AsyncIterator[Filled]:
    log = await new_log()
    await fill(log, write(9, 30).entries)
    async with filled_views(postgres_address, log) as views:
        yield Filled(log, views)


@pytest.mark.postgres
async def test_the_lists_show_the_past_and_count_ages_from_there(filled: Filled) -> None:
    first = datetime(2026, 3, 1, 8, 0, 30, tzinfo=UTC)
    now = len((await filled.views.runs(limit=100)).rows)
    ways: tuple[Literal["event", "recorded"], ...] = ("event", "recorded")
    for list_past, by in product(LISTS, ways):
        call = filled.call(Moment(first, by))
        await list_past(call)
        assert looked_at(call) == first
        rows = call.values
        if list_past is list_runs:
            started = [datetime.fromisoformat(row["started_at"]) for row in rows]
            assert rows and max(started) <= first
            assert started == sorted(started, reverse=True)
            assert len(rows) < now


@pytest.mark.postgres
async def test_a_run_is_shown_as_it_was_and_one_that_had_not_started_is_not_found(
    filled: Filled,
) -> None:
    call = filled.call(Moment(NOW + timedelta(days=365)))
    last = (await filled.views.runs(limit=1)).rows[0]

    await show(call, last.run_id)
    assert call.values[0]["state"] == last.state

    call.moment = Moment(last.started_at - timedelta(seconds=1))
    with pytest.raises(NotFound, match="had not started then"):
        async with run_seen(call, last.run_id):
            pass


async def test_without_a_moment_the_views_are_asked_as_ever() -> None:
    views = FakeViews()
    call = TestedCall(views=views)

    await list_runs(call, owner="team:emea")

    assert views.asked[0][1]["owner"] == "team:emea"
    assert looked_at(call) == NOW
