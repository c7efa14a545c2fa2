"""The read side, over views that a projector has filled in PostgreSQL."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from itertools import pairwise
from typing import Any

import orjson
import pytest

from meshline.projections.as_of import Moment
from meshline.projections.as_of_queries import ViewsFolded
from meshline.projections.errors import NotFound, StoreUnavailable
from meshline.projections.exception_view import OPEN_EXCEPTIONS, exceptions
from meshline.projections.from_scratch import fold_views
from meshline.projections.handovers_view import handovers
from meshline.projections.memory_store import MemoryStore
from meshline.projections.ownership_view import periods
from meshline.projections.queries import Views, as_json
from meshline.projections.runs_view import RunRow, runs
from meshline.projections.summaries import OPEN_RUNS
from meshline.projections.tasks_view import OPEN_TASKS, tasks
from meshline.projections.triggers_view import triggers
from tests.projections.filled_views import filled_views
from tests.projections.streams import fill, new_log, write

pytestmark = pytest.mark.postgres

RUNS = 150


@pytest.fixture
async def filled(postgres_address: str) -> AsyncIterator[tuple[Views, MemoryStore]]:
    log = await new_log()
    await fill(log, write(21, RUNS).entries)
    async with filled_views(postgres_address, log) as views:
        assert {lag.events for lag in await views.lag(log)} == {0}
        yield views, await fold_views(log)


async def test_the_answers_are_those_of_a_fold_in_plain_python(
    filled: tuple[Views, MemoryStore],
) -> None:
    views, scratch = filled
    all_runs = await scratch.rows(runs)
    await check_runs(views, all_runs)
    await check_people(views, scratch, all_runs)
    await check_triggers(views, scratch)
    for owner in {"user:ada", *(run.owner for run in all_runs), "user:nobody"}:
        await check_possessions(views, scratch, owner)
        await check_handovers(views, scratch, owner)
    await check_handovers(views, scratch, None)


async def check_possessions(views: Views, scratch: MemoryStore, owner: str) -> None:
    expected = [
        *(
            ("run", row.run_id, "")
            for row in await scratch.rows(runs)
            if owner in (row.owner, row.assignee) and row.state in OPEN_RUNS
        ),
        *(
            ("exception", row.run_id, row.exception_id)
            for row in await scratch.rows(exceptions)
            if row.owner == owner and row.state in OPEN_EXCEPTIONS
            and (row.kind, row.about) != ("owner_gone", owner)
        ),
        *(
            (row.kind, row.run_id, row.task)
            for row in await scratch.rows(tasks)
            if owner in (row.owner, row.assignee) and row.state in OPEN_TASKS
        ),
    ]  # fmt: skip
    found: list[tuple[str, str, str]] = []
    after = None
    while True:
        page = await views.possessions(owner, limit=3, after=after)
        found += [(row.kind, row.run_id, row.about) for row in page.rows]
        if (after := page.next) is None:
            break
    assert found == sorted(expected, key=lambda each: (each[1], each[0], each[2]))
    for run_id in {each[1] for each in expected[:3]}:
        of_one = (await views.possessions(owner, run_id=run_id)).rows
        assert [(row.kind, row.about) for row in of_one] == sorted(
            (kind, about) for kind, run, about in expected if run == run_id
        )


def shared_by_two(runs: list[RunRow]) -> str:
    """Return a beginning that more than one run's id has."""
    first = sorted(run.run_id[:1] for run in runs)
    return next(a for a, b in pairwise(first) if a == b)


async def check_handovers(views: Views, scratch: MemoryStore, owner: str | None) -> None:
    newest = sorted(
        (
            row
            for row in await scratch.rows(handovers)
            if owner is None or owner in (row.owner, row.previous)
        ),
        key=lambda row: (row.time, row.partition, row.log_offset),
        reverse=True,
    )
    found, after = [], None
    while True:
        page = await views.handovers(owner=owner, limit=4, after=after)
        found += page.rows
        if (after := page.next) is None:
            break
    assert found == newest
    if newest:
        of_one = (await views.handovers(owner=owner, run_id=newest[0].run_id)).rows
        assert of_one == [row for row in newest if row.run_id == newest[0].run_id]


async def check_runs(views: Views, expected: list[RunRow]) -> None:
    newest = sorted(expected, key=lambda run: (run.started_at, run.run_id), reverse=True)
    found, after = [], None
    while True:
        page = await views.runs(limit=40, after=after)
        found += page.rows
        if (after := page.next) is None:
            break
    assert found == newest

    held = await views.runs(states=["held", "paused"], limit=1_000)
    assert held.rows == [run for run in newest if run.state in ("held", "paused")]
    waiting = await views.runs(wait_kind="exception", workflow="lead", source="web.forms")
    assert waiting.rows == [run for run in newest if run.wait_kind == "exception"][:50]
    ada = await views.runs(owner="user:ada", limit=1_000)
    assert ada.rows == [run for run in newest if "user:ada" in (run.owner, run.assignee)]

    run = newest[3]
    assert await views.run(run.run_id) == run
    assert (await views.runs(id_prefix=run.run_id[:9])).rows == [run]
    assert await views.run(run.run_id[:9]) == run
    with pytest.raises(NotFound, match="no run 'zzz'"):
        await views.run("zzz")
    with pytest.raises(NotFound, match="More than one run"):
        await views.run(shared_by_two(expected))
    with pytest.raises(NotFound, match="id of the run is empty"):
        await views.run("")
    with pytest.raises(NotFound, match="no page after"):
        await views.runs(after="nonsense")
    assert sum((await views.run_counts()).values()) == len(expected)
    assert orjson.dumps(as_json(run))


async def check_people(views: Views, scratch: MemoryStore, all_runs: list[RunRow]) -> None:
    run = max(all_runs, key=lambda run: run.events)
    expected = [period for period in await scratch.rows(periods) if period.run_id == run.run_id]
    assert await views.periods(run.run_id) == expected
    history = await views.history(run.run_id)
    assert history[0].type == "meshline.trigger.received.v1"
    assert [row.log_offset for row in history] == sorted(row.log_offset for row in history)
    assert await views.history(run.run_id, after_offset=history[0].log_offset) == history[1:]

    open_now = [e for e in await scratch.rows(exceptions) if e.state != "resolved"]
    assert len((await views.exceptions(limit=1_000)).rows) == len(open_now) > 0
    one = open_now[0]
    assert await views.exception(one.exception_id) == one
    assert one in (await views.exceptions(cause=one.cause, route=one.route, run_id=one.run_id)).rows
    groups = await views.exception_groups()
    assert sum(group.open for group in groups) == len(open_now)
    assert groups[0].total >= groups[0].open >= groups[-1].open

    group = next(group for group in groups if group.cause == one.cause)
    for later in (timedelta(hours=1), timedelta(days=3)):
        seen = await views.cause(one.cause, group.last_seen + later)
        assert seen.group == group
        assert sum(hit.total for hit in seen.hits) == group.total
        assert sum(hit.open for hit in seen.hits) == group.open
        assert {hit.workflow for hit in seen.hits} == set(group.workflows or ())
        assert {hit.source for hit in seen.hits} == {
            run.source for run in all_runs
            if run.run_id in {e.run_id for e in await scratch.rows(exceptions)
                              if e.cause == one.cause}
        }  # fmt: skip
        assert sum(each.exceptions for each in seen.opened) == group.total
    with pytest.raises(NotFound, match="No exception has the cause 'none'"):
        await views.cause("none", group.last_seen)

    owners = {load.owner: load for load in await views.owners()}
    ended = ("succeeded", "failed", "cancelled")
    assert sum(load.runs for load in owners.values()) == len(
        [run for run in all_runs if run.state not in ended]
    )
    assert sum(load.exceptions for load in owners.values()) == len(open_now)
    assert (await views.approvals(states=None, limit=1_000)).rows
    assert [row.workflow for row in await views.workflows()] == ["lead"]


async def check_triggers(views: Views, scratch: MemoryStore) -> None:
    expected = await scratch.rows(triggers)
    rejected = (await views.triggers(statuses=["rejected"], limit=1_000)).rows
    assert sorted(rejected) == sorted(t for t in expected if t.status == "rejected")
    assert sum((await views.trigger_counts()).values()) == len(expected)
    one = expected[0]
    assert one in (await views.triggers(source=one.source, trigger_id=one.trigger_id)).rows
    alike = [t for t in expected if (t.source, t.trigger_type) == (one.source, one.trigger_type)]
    last = max(trigger.received_at for trigger in alike)
    assert await views.last_received(one.source, one.trigger_type) == last
    assert await views.last_received(one.source, one.trigger_type, last) is None
    assert await views.last_received("nobody", one.trigger_type) is None


async def test_where_no_projector_ran_yet_the_answer_says_so(postgres_address: str) -> None:
    views = Views(postgres_address)

    with pytest.raises(NotFound, match="no views"):
        await views.run_counts()

    await views.aclose()


async def test_a_server_that_is_not_there_is_named_without_its_password() -> None:
    views = Views("postgresql://ada:secret@127.0.0.1:1/nowhere")

    with pytest.raises(StoreUnavailable) as refused:
        await views.run_counts()

    assert "ada@127.0.0.1:1" in str(refused.value)
    assert "secret" not in str(refused.value)
    await views.aclose()


async def test_as_of_now_the_past_answers_as_the_present_does(
    filled: tuple[Views, MemoryStore],
) -> None:
    now, scratch = filled
    past = ViewsFolded(now, scratch)

    assert await past.owners() == await now.owners()
    filters: list[dict[str, Any]] = [
        {}, {"owner": "user:ada"}, {"limit": 7}, {"states": ["held", "open", "denied"]},
    ]  # fmt: skip
    for given in filters:
        for name in ("runs", "exceptions", "tasks", "approvals"):
            after = None
            while True:
                page = await getattr(past, name)(**given, after=after)
                assert page == await getattr(now, name)(**given, after=after)
                if (after := page.next) is None:
                    break
    run = (await now.runs(wait_kind="exception", source="web.forms")).rows[0]
    assert (await past.runs(wait_kind="exception", id_prefix=run.run_id[:6])).rows == [run]
    assert await past.run(run.run_id[:12]) == run
    assert await past.periods(run.run_id) == await now.periods(run.run_id)
    one = await ViewsFolded.of_run(now, run.run_id, Moment(run.changed_at + timedelta(days=999)))
    assert await one.run(run.run_id) == run
    assert await one.history(run.run_id) == await now.history(run.run_id)
