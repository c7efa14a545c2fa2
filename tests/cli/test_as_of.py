"""A past moment on the command line: how it is typed, and what the lists then show."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import typer

from meshline.cli.approval import list_approvals
from meshline.cli.as_of import By, looked_at, moment_typed, run_seen
from meshline.cli.exception import list_exceptions
from meshline.cli.output import Form
from meshline.cli.owner import list_owners
from meshline.cli.run import list_runs, show
from meshline.projections.as_of import Moment
from meshline.projections.errors import NotFound
from meshline.projections.from_scratch import fold_views
from meshline.projections.history_view import history
from meshline.projections.runs_view import runs
from tests.cli.doubles import NOW, FakeViews, TestedCall
from tests.projections.streams import fill, new_log, write

LIST = list_runs, list_owners, list_exceptions, list_approvals


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


async def past_call(form: Form, moment: Moment) -> tuple[TestedCall, Any]:
    log = await new_log()
    await fill(log, write(9, 30).entries)
    whole = await fold_views(log)
    views = FakeViews({"runs": await whole.rows(runs), "history": await whole.rows(history)})
    call = TestedCall(form, log=log, views=views)
    call.moment = moment
    return call, whole


async def test_the_lists_show_the_past_and_count_ages_from_there() -> None:
    first = datetime(2026, 3, 1, 8, 0, 30, tzinfo=UTC)
    for list_past in LIST:
        call, _ = await past_call(Form.jsonl, Moment(first, "recorded"))
        await list_past(call)
        assert looked_at(call) == first
        rows = call.values
        if list_past is list_runs:
            started = [datetime.fromisoformat(row["started_at"]) for row in rows]
            assert rows and max(started) <= first
            assert started == sorted(started, reverse=True)
            _, whole = await past_call(Form.jsonl, call.moment or Moment())
            assert len(rows) < len(await whole.rows(runs))


async def test_a_run_is_shown_as_it_was_and_one_that_had_not_started_is_not_found() -> None:
    call, whole = await past_call(Form.jsonl, Moment(NOW + timedelta(days=365)))
    last = (await whole.rows(runs))[3]
    rows = [row for row in await whole.rows(history) if row.run_id == last.run_id]
    call._views.lists["history"] = rows  # type: ignore[union-attr]

    await show(call, last.run_id)
    assert call.values[0]["state"] == last.state

    call.moment = Moment(rows[0].time - timedelta(days=1))
    with pytest.raises(NotFound, match="had not started then"):
        async with run_seen(call, last.run_id):
            pass


async def test_without_a_moment_the_views_are_asked_as_ever() -> None:
    views = FakeViews()
    call = TestedCall(views=views)

    await list_runs(call, owner="team:emea")

    assert views.asked[0][1]["owner"] == "team:emea"
    assert looked_at(call) == NOW
