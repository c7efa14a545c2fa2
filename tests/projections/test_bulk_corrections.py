"""Many tried again with what was wrong set right: what that changes is looked at before."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest
from pydantic import BaseModel, Field

from meshline.events.corrections import Correction
from meshline.events.envelope import Actor
from meshline.events.publish import Publisher, Trigger
from meshline.events.requests import ExceptionActionRequested
from meshline.projections.bulk import Bulks
from meshline.projections.bulk_apply import applied
from meshline.projections.bulk_list import BulkList, Chosen
from meshline.projections.errors import NotFound, NotReady
from meshline.projections.exception_view import ExceptionRow
from meshline.workflow import Retry, Workflow
from meshline.workflow.registry import Registry
from tests.api.installation import Installation, installed

pytestmark = pytest.mark.postgres

ADA, BOB = Actor("user", "user:ada"), Actor("user", "user:bob")
ORDERS = 120


class Order(BaseModel):
    town: str = Field(min_length=2)
    lines: list[int] = []


class Checked(BaseModel):
    by: str


class Sent(BaseModel):
    label: str


flow = Workflow(
    "parcels", version=1, trigger=Order, source="shop", owner="team:ops", exceptions="queue:ops",
    outcome=Sent,
)  # fmt: skip


@flow.step(retry=Retry(attempts=1))
async def insure(trigger: Order) -> Checked:
    if trigger.town == "Nirgendwo":
        raise LookupError("no such town")
    return Checked(by="insurer")


@flow.step(retry=Retry(attempts=1))
async def weigh(trigger: Order) -> Checked:
    if trigger.town == "Nirgendwo":
        raise LookupError("no such town")
    return Checked(by="scale")


@flow.step
async def send(trigger: Order, insure: Checked, weigh: Checked) -> Sent:
    return Sent(label=trigger.town)


@pytest.fixture
async def meshline(
    postgres_address: str, request: pytest.FixtureRequest
) -> AsyncIterator[Installation]:
    orders = getattr(request, "param", 3)
    async with installed(postgres_address, Registry(flow)) as installation:
        async with Publisher(installation.log) as publisher:
            # Every one but the first has a line more than the one before.
            payloads: list[Any] = [
                {"town": "Nirgendwo", "lines": [*range(min(n, 3))]} for n in range(orders)
            ]
            triggers = (Trigger("shop", each, trigger_id=str(n)) for n, each in enumerate(payloads))
            async for _ in publisher.publish_many(triggers):
                pass
        await until_open(installation, 2 * orders)
        yield installation


async def until_open(meshline: Installation, count: int) -> None:
    async with asyncio.timeout(90):
        while len(await opened(meshline)) != count:  # noqa: ASYNC110
            await asyncio.sleep(0.05)


async def opened(meshline: Installation, step: str | None = None) -> list[ExceptionRow]:
    rows = (await meshline.services.views.exceptions(limit=1000)).rows
    return [row for row in rows if step in (None, row.about)]


def to(path: str, value: Any, of: str = "trigger") -> dict[str, Any]:
    return {"of": of, "path": path, "value": value}


async def frozen(meshline: Installation, *corrections: dict[str, Any], step: str) -> BulkList:
    assert meshline.services.bulks is not None
    return await meshline.services.bulks.freeze(
        meshline.services.views, "retry", Chosen(step=step), actor="user:ada", reason="typo",
        more={"corrections": [*corrections]},
    )  # fmt: skip


async def results(meshline: Installation, made: BulkList) -> dict[str, str]:
    """Return what came of each run when the list was applied."""
    services = meshline.services
    bulks: Bulks | None = services.bulks
    assert bulks is not None
    found = applied(bulks, made.name, services.views, services.publisher, meshline.log, actor=ADA)
    return {item.run_id: f"{item.result} {item.detail}".strip() async for item in found}


async def test_each_is_looked_at_with_its_own_values_and_some_are_left_out(
    meshline: Installation,
) -> None:
    assert meshline.services.bulks is not None

    made = await frozen(meshline, to("/lines/1", 7), to("/town", "Nirgendwo 2"), step="weigh")
    items = await meshline.services.bulks.items(made.name)
    out = await meshline.services.bulks.items(made.name, results=["left_out"])

    assert (made.items, sum(made.left_out.values())) == (1, 2)
    assert [item.number for item in (*items, *out)] == [1, 2, 3]
    [corrected] = items[0].corrected or []
    assert [(c["path"], c["before"], c["after"]) for c in corrected["changes"]] == [
        ("/town", "Nirgendwo", "Nirgendwo 2"), ("/lines/1", 1, 7),
    ]  # fmt: skip
    assert {item.detail for item in out} == {
        "it can't be corrected so: /lines/1 is no place in it: expected an index below 0, not 1",
        "it can't be corrected so: /lines/1 is no place in it: expected an index below 1, not 1",
    }
    assert made.left_out == Counter(item.detail for item in out)


@pytest.mark.parametrize(
    ("correction", "why"),
    [
        (to("/town", "X"), "it would be no trigger: town: it is shorter than 2 characters"),
        (to("", "all of it"), 'it would be no trigger: value: it is not of type "object"'),
        (to("/town", "Nirgendwo"), "its values are so already"),
        (to("/by", "me", "insure"), "'insure' has no value in this run"),
    ],
)
async def test_a_correction_that_no_run_can_take_makes_no_list(
    meshline: Installation, correction: dict[str, Any], why: str
) -> None:
    with pytest.raises(NotFound, match=why):
        await frozen(meshline, correction, step="weigh")


async def test_whose_values_changed_since_they_were_looked_at_is_left_alone(
    meshline: Installation,
) -> None:
    made = await frozen(meshline, to("/town", "Ulm"), step="weigh")
    [first, *_] = await opened(meshline, "insure")
    request = ExceptionActionRequested(
        exception_id=first.exception_id, action="retry",
        corrections=(Correction(of="trigger", path="/town", value="Rom"),),
    )  # fmt: skip
    answer = await meshline.services.publisher.request(first.run_id, request, actor=BOB, wait_s=30)
    assert answer.status == "accepted"

    came_of = await results(meshline, made)

    assert came_of.pop(first.run_id) == (
        "skipped its values changed meanwhile: the corrections would change it otherwise than they "
        "did when it was looked at"
    )
    assert [*came_of.values()] == ["done"] * 2
    await meshline.until_seen("history")
    for run_id in came_of:
        history = await meshline.services.views.history(run_id)
        [asked] = [h for h in history if h.type == "meshline.exception.action.requested.v1"]
        assert asked.data["corrections"] == [to("/town", "Ulm")]


async def test_where_the_schema_is_no_judge_the_keeper_is(meshline: Installation) -> None:
    # The type takes "2" for 2, and its schema does not.
    late = await meshline.services.publisher.publish(
        "shop", {"town": "Nirgendwo", "lines": ["2"]}, trigger_id="odd"
    )
    await until_open(meshline, 8)
    made = await frozen(meshline, to("/town", "X"), to("/lines", ["2"]), step="weigh")

    came_of = await results(meshline, made)

    assert (made.items, sum(made.left_out.values())) == (1, 3)
    assert [*came_of] == [late.run_id]
    assert came_of[late.run_id].startswith("refused Refused: it would be no trigger: town: ")


@pytest.mark.parametrize("meshline", [ORDERS], indirect=True)
async def test_more_than_are_read_at_once_are_all_corrected(meshline: Installation) -> None:
    made = await frozen(meshline, to("/town", "Ulm"), step="weigh")

    assert made.items == ORDERS
    assert Counter((await results(meshline, made)).values()) == {"done": ORDERS}


async def test_a_list_with_corrections_has_a_smaller_limit(
    meshline: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("meshline.projections.bulk_choice.CORRECTED_MAX", 2)

    with pytest.raises(NotReady, match="More than 2 fit"):
        await frozen(meshline, to("/town", "Ulm"), step="weigh")
