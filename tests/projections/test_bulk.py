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
from meshline.events.requests import ExceptionActionRequested
from meshline.projections.bulk import Bulks
from meshline.projections.bulk_list import BulkItem, BulkList, Chosen, effect_of
from meshline.projections.errors import NotFound, NotReady
from meshline.projections.exception_view import ExceptionRow
from meshline.projections.queries import Views
from meshline.workflow import Retry, Workflow
from meshline.workflow.registry import Registry
from tests.api.installation import Installation, installed

pytestmark = pytest.mark.postgres

FAILURES = int(os.environ.get("MESHLINE_BULK_FAILURES", "140"))
"""The soak makes 10,000."""

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
async def meshline(postgres_address: str) -> AsyncIterator[Installation]:
    mended.clear()
    async with installed(postgres_address, Registry(flow)) as installation:
        async with Publisher(installation.log) as publisher:
            numbers = range(FAILURES)
            triggers = (Trigger("shop", {"number": n}, trigger_id=str(n)) for n in numbers)
            async for _ in publisher.publish_many(triggers):
                pass
        await until_open(installation, FAILURES)
        yield installation


@pytest.fixture
async def bulks(postgres_address: str) -> AsyncIterator[Bulks]:
    found = Bulks(postgres_address, confirmed_above=FAILURES)
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
    found = bulks.apply(made.name, services.views, services.publisher, meshline.log, actor=ADA)
    return [item async for item in found]


async def asked(meshline: Installation, row: ExceptionRow, action: Any, **more: Any) -> None:
    request = ExceptionActionRequested(exception_id=row.exception_id, action=action, **more)
    answer = await meshline.services.publisher.request(row.run_id, request, actor=BOB, wait_s=20)
    assert answer.status == "accepted", answer
    assert answer.decided_at is not None
    await meshline.services.views.reached([answer.decided_at], ["exceptions"], timeout_s=20)


async def test_seven_causes_are_seven_groups_and_one_is_retried_by_itself(
    meshline: Installation, bulks: Bulks
) -> None:
    views = meshline.services.views
    groups = await views.exception_groups()
    assert len(groups) == CAUSES and sum(group.open for group in groups) == FAILURES
    group = groups[0]

    made = await bulks.freeze(
        views, "retry", Chosen(cause=group.cause), actor="user:ada", reason="it is back",
        confirmed_above=10**9,
    )  # fmt: skip
    effect = effect_of("retry", await bulks.items(made.name))
    rows = (await views.exceptions(cause=group.cause, limit=1000)).rows
    await asked(meshline, rows[0], "skip", value={"number": 1}, reason="by hand")
    await asked(meshline, rows[1], "assign", owner="user:bob")
    mended.update(range(CAUSES))
    items = await applied(bulks, made, meshline)
    print(f"{FAILURES} failures, {len(groups)} groups, {len(items)} items")

    assert (made.items, effect.runs, effect.by_step) == (group.open, group.open, {
        "jobs: work": group.open
    })  # fmt: skip
    results = Counter(item.result for item in items)
    assert results == {"done": group.open - 2, "skipped": 2}
    assert results == Counter(await bulks.counts(made.name))
    details = {item.exception_id: item.detail for item in items if item.result == "skipped"}
    assert details[rows[0].exception_id] == "it was skipped meanwhile by user:bob"
    assert "is open with user:bob" in details[rows[1].exception_id]
    await until_open(meshline, FAILURES - group.open + 1)
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
        patched.setattr(Bulks, "_keep", killed)
        with pytest.raises(KilledInBetween):
            await applied(bulks, made, meshline)
    assert await bulks.counts(made.name) == {"left": FAILURES}
    items = await applied(bulks, made, meshline)

    assert Counter(item.result for item in items) == {"done": FAILURES}
    assert Counter(item.detail for item in items)["asked before"] == 50
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
    assert [each.confirmed_by for each in await bulks.all()] == ["user:bob"]


async def test_what_will_be_refused_is_foretold_and_then_refused(
    meshline: Installation, bulks: Bulks
) -> None:
    views = meshline.services.views
    [*_, oldest] = (await views.exceptions(limit=1000)).rows
    chosen = Chosen(kind="step_failed", cause=oldest.cause)

    made = await bulks.freeze(views, "resolve", chosen, actor="user:ada", reason="seen")
    items = await applied(bulks, made, meshline)

    assert effect_of("resolve", items).likely_refused == len(items)
    assert {item.result for item in items} == {"refused"}
    assert all(item.detail for item in items)


async def test_two_at_once_and_what_is_not_there_are_told(
    meshline: Installation, bulks: Bulks
) -> None:
    views: Views = meshline.services.views
    with pytest.raises(NotFound, match="No open exception fits"):
        await bulks.freeze(views, "retry", Chosen(cause="none"), actor="user:ada", reason="")
    with pytest.raises(NotFound, match="no list 'bulk-x'"):
        await bulks.one("bulk-x")
    made = await bulks.freeze(views, "acknowledge", Chosen(), actor="user:ada", reason="")
    first = bulks.apply(
        made.name, views, meshline.services.publisher, meshline.log, actor=ADA
    )  # fmt: skip
    await anext(first)
    with pytest.raises(NotReady, match="being applied already"):
        await applied(bulks, made, meshline)
    await first.aclose()

    rest = await applied(bulks, made, meshline)
    assert len(rest) == FAILURES - 50
