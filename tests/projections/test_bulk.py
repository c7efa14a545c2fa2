"""Bulk operations over a whole installation: previewed, applied, ended halfway, applied again."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest
from pydantic import BaseModel

from meshline.events.envelope import Actor
from meshline.events.publish import Publisher, Trigger
from meshline.events.requests import CancelRequested, ExceptionActionRequested
from meshline.projections.bulk import Bulks
from meshline.projections.bulk_apply import applied as applying
from meshline.projections.bulk_list import BulkItem, BulkList, Chosen
from meshline.projections.errors import NotFound, NotReady
from meshline.projections.exception_view import ExceptionRow
from meshline.projections.queries import Views
from meshline.workflow import Retry, Workflow
from meshline.workflow.registry import Registry
from tests.api.installation import Installation, installed

pytestmark = pytest.mark.postgres

FAILURES = 70
MANY = int(os.environ.get("MESHLINE_BULK_FAILURES", "1000"))
"""In the test that is about many; the soak makes 10,000."""

CAUSES = 7
ADA, BOB = Actor("user", "user:ada"), Actor("user", "user:bob")


class Job(BaseModel):
    number: int


class Done(BaseModel):
    number: int


class KilledInBetween(Exception):
    pass


mended: set[int] = set()
flow = Workflow(
    "jobs", version=1, trigger=Job, source="shop", owner="team:ops", exceptions="queue:ops",
    outcome=Done,
)  # fmt: skip


@flow.step(retry=Retry(attempts=1))
async def work(trigger: Job) -> Done:
    cause = trigger.number % CAUSES
    if cause not in mended:
        name = "abcdefg"[cause]
        raise LookupError(f"no {name}-entry for 'job {trigger.number}' (try {trigger.number * 7})")
    return Done(number=trigger.number)


@pytest.fixture
async def meshline(
    postgres_address: str, request: pytest.FixtureRequest
) -> AsyncIterator[Installation]:
    mended.clear()
    failures = getattr(request, "param", FAILURES)
    async with installed(postgres_address, Registry(flow)) as installation:
        async with Publisher(installation.log) as publisher:
            numbers = range(failures)
            triggers = (Trigger("shop", {"number": n}, trigger_id=str(n)) for n in numbers)
            async for _ in publisher.publish_many(triggers):
                pass
        await until_open(installation, failures)
        yield installation


@pytest.fixture
async def bulks(postgres_address: str) -> AsyncIterator[Bulks]:
    found = Bulks(postgres_address, confirmed_above=MANY)
    await found.open()
    yield found
    await found.aclose()


async def until_open(meshline: Installation, count: int) -> None:
    views = meshline.services.views
    async with asyncio.timeout(120):
        while sum(g.open for g in await views.exception_groups()) != count:  # noqa: ASYNC110
            await asyncio.sleep(0.05)


async def applied(bulks: Bulks, made: BulkList, meshline: Installation) -> list[BulkItem]:
    services = meshline.services
    found = applying(bulks, made.name, services.views, services.publisher, meshline.log, actor=ADA)
    return [item async for item in found]


async def asked(meshline: Installation, row: ExceptionRow, action: Any, **more: Any) -> None:
    request = ExceptionActionRequested(exception_id=row.exception_id, action=action, **more)
    answer = await meshline.services.publisher.request(row.run_id, request, actor=BOB, wait_s=30)
    assert answer.status == "accepted", answer
    assert answer.decided_at is not None
    await meshline.services.views.reached([answer.decided_at], ["exceptions"], timeout_s=20)


@pytest.mark.parametrize("meshline", [MANY], indirect=True)
async def test_seven_causes_are_seven_groups_and_one_is_retried_by_itself(
    meshline: Installation, bulks: Bulks
) -> None:
    views = meshline.services.views
    groups = await views.exception_groups()
    assert len(groups) == CAUSES and sum(group.open for group in groups) == MANY
    group = groups[0]

    made = await bulks.freeze(
        views, "retry", Chosen(cause=group.cause), actor="user:ada", reason="it is back",
        confirmed_above=10**9,
    )  # fmt: skip
    effect = await bulks.effect(made.name)
    rows = (await views.exceptions(cause=group.cause, limit=1000)).rows
    await asked(meshline, rows[0], "skip", value={"number": 1}, reason="by hand")
    await asked(meshline, rows[1], "assign", owner="user:bob")
    mended.update(range(CAUSES))
    items = await applied(bulks, made, meshline)
    print(f"{MANY} failures, {len(groups)} groups, {len(items)} items")

    assert (made.items, effect.runs, effect.by_step) == (group.open, group.open, {
        "jobs: work": group.open
    })  # fmt: skip
    results = Counter(item.result for item in items)
    assert results == {"done": group.open - 2, "skipped": 2}
    assert results == Counter(await bulks.counts(made.name))
    details = {item.exception_id: item.detail for item in items if item.result == "skipped"}
    assert details[rows[0].exception_id] == "it was skipped meanwhile by user:bob"
    assert "is open with user:bob" in details[rows[1].exception_id]
    await until_open(meshline, MANY - group.open + 1)
    left = Counter({g.cause: g.open for g in await views.exception_groups()})
    assert left == Counter({g.cause: g.open for g in groups if g != group}) + Counter(
        {group.cause: 1}
    )


async def test_whoever_is_ended_in_the_middle_repeats_nothing(
    meshline: Installation, bulks: Bulks, monkeypatch: pytest.MonkeyPatch
) -> None:
    views = meshline.services.views
    mended.update(range(CAUSES))
    made = await bulks.freeze(
        views, "retry", Chosen(workflow="jobs"), actor="user:ada", reason="again"
    )

    async def killed(self: Bulks, items: Any) -> None:
        raise KilledInBetween

    with monkeypatch.context() as patched:
        patched.setattr(Bulks, "keep", killed)
        with pytest.raises(KilledInBetween):
            await applied(bulks, made, meshline)
    assert await bulks.counts(made.name) == {"left": FAILURES}
    items = await applied(bulks, made, meshline)

    assert Counter(item.result for item in items) == {"done": FAILURES}
    assert Counter(item.detail for item in items)["asked before"] == 50
    await meshline.until_seen("history")
    for item in items[:60]:
        history = await views.history(item.run_id)
        requests = [h for h in history if h.type == "meshline.exception.action.requested.v1"]
        assert [(h.event_id, h.actor) for h in requests] == [(item.event_id, "user:ada")]
        assert requests[0].data["reason"] == f"again ({made.name})"
    assert await applied(bulks, made, meshline) == []


async def test_a_long_list_needs_the_word_of_a_second_person(
    meshline: Installation, bulks: Bulks
) -> None:
    made = await bulks.freeze(
        meshline.services.views, "acknowledge", Chosen(step="work"), actor="user:ada", reason="",
        confirmed_above=10,
    )  # fmt: skip

    with pytest.raises(NotReady, match="need the word of a second person"):
        await applied(bulks, made, meshline)
    with pytest.raises(NotReady, match="user:ada made the list"):
        await bulks.confirm(made.name, actor="user:ada")
    confirmed = await bulks.confirm(made.name, actor="user:bob")
    items = await applied(bulks, made, meshline)

    assert (made.is_unconfirmed, confirmed.is_unconfirmed) == (True, False)
    assert Counter(item.result for item in items) == {"done": FAILURES}
    assert [each.confirmed_by for each in (await bulks.all()).rows] == ["user:bob"]


async def test_what_can_not_be_done_is_left_out_before_and_said(
    meshline: Installation, bulks: Bulks
) -> None:
    views = meshline.services.views
    rows = (await views.exceptions(limit=1000)).rows
    [*_, oldest] = rows
    chosen = Chosen(cause=oldest.cause)
    alike = [row for row in rows if row.cause == oldest.cause]

    with pytest.raises(NotFound, match=rf"\({len(alike)}: it holds its run up"):
        await bulks.freeze(views, "resolve", chosen, actor="user:ada", reason="seen")
    await asked(meshline, oldest, "acknowledge")
    made = await bulks.freeze(views, "acknowledge", chosen, actor="user:ada", reason="seen")

    assert (made.items, made.left_out) == (
        len(alike) - 1,
        {"somebody has seen it already": 1},
    )
    assert Counter(item.result for item in await applied(bulks, made, meshline)) == {
        "done": len(alike) - 1
    }


async def test_a_list_says_at_which_place_of_the_log_it_was_seen(
    meshline: Installation, bulks: Bulks
) -> None:
    await meshline.until_seen("exceptions")
    ends = await meshline.log.ends()

    made = await bulks.freeze(
        meshline.services.views, "acknowledge", Chosen(workflow="jobs"), actor="user:ada", reason=""
    )

    assert made.seen_at == {str(p): end for p, end in ends.items()}


async def test_what_ended_by_itself_is_left_out_though_the_views_do_not_show_it_yet(
    meshline: Installation, bulks: Bulks, monkeypatch: pytest.MonkeyPatch
) -> None:
    views = meshline.services.views
    rows = (await views.exceptions(limit=1000)).rows
    made = await bulks.freeze(
        views, "retry", Chosen(cause=rows[0].cause), actor="user:ada", reason="again"
    )
    cancelled = {item.exception_id for item in (await bulks.items(made.name))[:2]}
    for row in rows:
        if row.exception_id in cancelled:
            answer = await meshline.services.publisher.request(
                row.run_id, CancelRequested(reason="by hand"), actor=BOB, wait_s=30
            )
            assert answer.status == "accepted"
    before = {row.exception_id: row for row in rows}

    async def shown(self: Views, exception_id: str) -> ExceptionRow:
        return before[exception_id]

    with monkeypatch.context() as patched:
        patched.setattr(Views, "exception", shown)
        items = await applied(bulks, made, meshline)

    assert {item.exception_id for item in items if item.result == "skipped"} == cancelled
    assert all("ended meanwhile" in i.detail for i in items if i.result == "skipped")
    assert Counter(await bulks.counts(made.name)) == {"done": made.items - 2, "skipped": 2}


async def test_runs_are_handed_over_and_cancelled_in_bulk(
    meshline: Installation, bulks: Bulks
) -> None:
    views = meshline.services.views
    runs = (await views.runs(workflow="jobs", limit=1000)).rows
    given = await bulks.freeze(
        views, "hand_over", Chosen(workflow="jobs", state="held"), actor="user:ada",
        reason="on leave", more={"owner": "team:night"},
    )  # fmt: skip
    ended = await meshline.services.publisher.request(
        runs[0].run_id, CancelRequested(reason="by hand"), actor=BOB, wait_s=30
    )
    assert ended.decided_at is not None
    items = await applied(bulks, given, meshline)
    await meshline.until_seen("runs")
    over = await bulks.freeze(
        views, "cancel", Chosen(owner="team:night"), actor="user:ada", reason="no longer wanted"
    )
    gone = await applied(bulks, over, meshline)

    assert given.items == FAILURES
    assert Counter(item.result for item in items) == {"done": FAILURES - 1, "skipped": 1}
    assert [item.detail for item in items if item.result == "skipped"] == [
        "it was cancelled meanwhile"
    ]
    assert Counter(item.result for item in gone) == {"done": FAILURES - 1}
    await meshline.until_seen("history")
    history = await views.history(gone[0].run_id)
    said = {row.type: row for row in history}
    assert said["meshline.owner.change.requested.v1"].data["owner"] == "team:night"
    assert said["meshline.cancel.requested.v1"].data["reason"] == f"no longer wanted ({over.name})"


@pytest.mark.parametrize(
    ("action", "chosen", "more", "told"),
    [
        ("retry", Chosen(), {}, "Nothing says which are meant"),
        ("cancel", Chosen(cause="x"), {}, "not chosen by cause"),
        ("retry", Chosen(source="shop"), {}, "not chosen by source"),
        ("assign", Chosen(workflow="jobs"), {"owner": "nobody"}, "The new owner is 'nobody'"),
        ("hand_over", Chosen(workflow="jobs"), {}, "The new owner is None"),
        ("retry", Chosen(workflow="jobs"), {"value": 1}, "with skip only"),
    ],
)
async def test_what_makes_no_list_is_told(
    bulks: Bulks, action: Any, chosen: Chosen, more: dict[str, Any], told: str
) -> None:
    nowhere = Views("postgresql://nobody@localhost/none")
    with pytest.raises(NotReady, match=told):
        await bulks.freeze(nowhere, action, chosen, actor="user:ada", reason="", more=more)


async def test_two_at_once_and_what_is_not_there_are_told(
    meshline: Installation, bulks: Bulks
) -> None:
    views: Views = meshline.services.views
    with pytest.raises(NotFound, match="No open exception fits"):
        await bulks.freeze(views, "retry", Chosen(cause="none"), actor="user:ada", reason="")
    with pytest.raises(NotFound, match="no list 'bulk-x'"):
        await bulks.one("bulk-x")
    made = await bulks.freeze(
        views, "acknowledge", Chosen(workflow="jobs"), actor="user:ada", reason=""
    )
    assert not await bulks.is_being_applied(made.name)
    first = applying(
        bulks, made.name, views, meshline.services.publisher, meshline.log, actor=ADA
    )  # fmt: skip
    await anext(first)
    assert await bulks.is_being_applied(made.name)
    with pytest.raises(NotReady, match="being applied already"):
        await applied(bulks, made, meshline)
    await first.aclose()

    rest = await applied(bulks, made, meshline)
    assert len(rest) == FAILURES - 50
