"""What is parked in PostgreSQL, key by key."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest

from meshline.cli.view_parked import parked_text
from meshline.events.envelope import Recorded
from meshline.events.facts import OwnerAssigned, RunStarted
from meshline.projections.errors import NotFound
from meshline.projections.poison import parked_keys
from meshline.projections.projection import Projection, by_run
from tests.projections.test_diff import fed

pytestmark = pytest.mark.postgres


class FussyRow(NamedTuple):
    run_id: str
    owner: str


def fussy() -> Projection:
    """It can't bear one of the owners."""
    projection = Projection("fussy", version=1)
    table = projection.table("fussy", FussyRow, key=["run_id"], keys=by_run)

    @table.on(RunStarted, OwnerAssigned)
    def assigned(row: FussyRow | None, event: Recorded[Any]) -> FussyRow:
        if event.event.data.owner == "team:apac":
            raise ValueError("no such team: apac")
        return FussyRow(event.event.subject, event.event.data.owner)

    return projection


async def test_each_key_is_shown_with_the_event_that_stopped_it(postgres_address: str) -> None:
    async with fed(postgres_address, [fussy()]):
        found = await parked_keys(postgres_address, "fussy")
        (one,) = await parked_keys(postgres_address, "fussy", key=found[0].key, limit=1)
        everything = await parked_keys(postgres_address, "fussy", limit=1)

    assert found and one == found[0] and len(everything) == 1
    assert len({each.key for each in found}) == len(found)
    assert {each.why for each in found} == {"failed"}
    assert "ValueError: no such team: apac" in one.error
    text = parked_text(one._replace(behind=3))
    assert f"meshline.owner.assigned.v1 at {one.position}" in text
    assert "3 later events" in text and "in assigned" in text


async def test_a_view_that_is_not_there_is_named(postgres_address: str) -> None:
    with pytest.raises(NotFound, match="no views at"):
        await parked_keys(postgres_address, "fussy")
    async with fed(postgres_address, [fussy()], runs=1):
        with pytest.raises(NotFound, match="no view 'other'"):
            await parked_keys(postgres_address, "other")
