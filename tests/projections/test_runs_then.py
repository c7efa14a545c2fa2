"""Pages of runs as of a past time: the same as when the whole log is folded."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from itertools import product

import pytest

from meshline.events.envelope import Position
from meshline.events.log import EventLog
from meshline.projections import history_view, runs_then, runs_view
from meshline.projections.as_of_queries import ViewsAsOf
from meshline.projections.moment import Moment
from meshline.projections.pages import Page
from meshline.projections.postgres_store import PostgresStore
from meshline.projections.projector import Projector
from meshline.projections.queries import OPEN_RUNS, Views
from meshline.projections.runs_then import RunsWanted, page_then
from meshline.projections.runs_view import RunRow
from tests.projections.streams import START, fill, new_log, write

pytestmark = pytest.mark.postgres


@pytest.fixture
async def filled(postgres_address: str) -> AsyncIterator[tuple[EventLog, Views]]:
    log = await new_log()
    await fill(log, write(22, 120).entries)
    store, views = PostgresStore(postgres_address), Views(postgres_address)
    await store.open()
    projector = Projector(log, store, (runs_view.projection, history_view.projection))
    task = asyncio.create_task(projector.run())
    ends = [Position(p, end - 1) for p, end in (await log.ends()).items()]
    await views.reached(ends, ("runs", "history"), timeout_s=60)
    projector.stop()
    await task
    await store.aclose()
    yield log, views
    await views.aclose()


async def paged(views: Views, moment: Moment, wanted: RunsWanted) -> list[RunRow]:
    found: list[RunRow] = []
    after = None
    while True:
        page = await page_then(views, moment, wanted._replace(after=after))
        assert page is not None
        found, after = found + page.rows, page.next
        if after is None:
            return found


async def test_every_page_is_that_of_a_fold_of_the_whole_log(
    filled: tuple[EventLog, Views],
) -> None:
    log, views = filled
    newest = (await views.runs(limit=1)).rows[0]
    lasted = newest.changed_at - START
    asked = [
        RunsWanted(),
        RunsWanted(states=OPEN_RUNS),
        RunsWanted(states=["succeeded", "held"]),
        RunsWanted(owner="user:ada"),
        RunsWanted(wait_kind="exception"),
        RunsWanted(workflow="lead", source="web.forms"),
        RunsWanted(id_prefix=newest.run_id[:1]),
    ]
    some = 0
    for share, wanted in product((0.0, 0.3, 0.7, 1.0), asked):
        moment = Moment(START + lasted * share)
        then = await ViewsAsOf.of_log(log, moment)
        expected = (await then.runs(**wanted._replace(limit=1_000)._asdict())).rows
        some += len(expected)

        assert await paged(views, moment, wanted._replace(limit=7)) == expected, (share, wanted)
        assert await page_then(views, moment, wanted._replace(limit=1_000)) == Page(expected, None)
    assert some > 500


async def test_what_only_the_log_can_tell_is_left_to_it(
    filled: tuple[EventLog, Views], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, views = filled
    moment = Moment(START + timedelta(days=1))

    assert await page_then(views, Moment(moment.time, "recorded"), RunsWanted()) is None
    assert await page_then(views, Moment(offsets={0: 3}), RunsWanted()) is None
    monkeypatch.setattr(runs_then, "LOOKED_AT_MAX", 30)
    assert await page_then(views, moment, RunsWanted(owner="team:nobody", limit=10)) is None
    monkeypatch.setattr(runs_then, "EVENTS_MAX", 30)
    assert await page_then(views, moment, RunsWanted()) is None
