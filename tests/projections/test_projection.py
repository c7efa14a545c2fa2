from __future__ import annotations

from typing import Any, NamedTuple

import pytest

from meshline.events.envelope import Recorded
from meshline.events.facts import Fact, OwnerAssigned, RunStarted, RunSucceeded, StepStarted
from meshline.events.requests import TriggerReceived
from meshline.projections.errors import ProjectionInvalid
from meshline.projections.projection import Projection, RowAccess, by_run
from tests.projections.given import RUN, rows_after, view_after
from tests.projections.test_runs_view import STARTED


class Counted(NamedTuple):
    run_id: str
    facts: int


def declared() -> tuple[Projection, Any]:
    projection = Projection("counted", version=1)
    return projection, projection.table("counted", Counted, key=["run_id"], keys=by_run)


async def test_a_table_applies_events_to_the_rows_that_they_concern() -> None:
    _, table = declared()

    @table.on(Fact)
    def count(row: Counted | None, event: Recorded[Any]) -> Counted:
        return Counted(event.event.subject, 1 if row is None else row.facts + 1)

    rows = await rows_after(
        table, TriggerReceived(source="s", trigger_id="1"), STARTED, RunSucceeded()
    )

    assert rows == [Counted(RUN, 2)]


async def test_none_deletes_the_row() -> None:
    _, table = declared()

    @table.on(RunStarted)
    def start(row: Counted | None, event: Recorded[Any]) -> Counted:
        return Counted(event.event.subject, 1)

    @table.on(RunSucceeded)
    def end(row: Counted | None, event: Recorded[Any]) -> None:
        return None

    assert await rows_after(table, STARTED, RunSucceeded()) == []


async def test_all_handlers_of_a_class_are_called_in_the_order_declared() -> None:
    projection, _ = declared()
    called = []

    @projection.on(RunStarted)
    def first(rows: RowAccess, event: Recorded[Any]) -> None:
        called.append("first")

    @projection.on(RunStarted)
    def second(rows: RowAccess, event: Recorded[Any]) -> None:
        called.append("second")

    await view_after(projection, STARTED)

    assert called == ["first", "second"]
    assert projection.handles == {RunStarted}


async def test_a_row_that_was_not_loaded_ahead_is_loaded_when_it_is_asked_for() -> None:
    projection, _ = declared()
    other = projection.table("by_owner", Counted, key=["run_id"])

    @projection.on(OwnerAssigned)
    def assigned(rows: RowAccess, event: Recorded[OwnerAssigned]) -> None:
        owner = event.event.data.owner
        row = rows.get(other, owner)
        rows.put(other, Counted(owner, 1 if row is None else row.facts + 1))

    rows = await rows_after(
        other, OwnerAssigned(owner="a"), OwnerAssigned(owner="b"), OwnerAssigned(owner="a")
    )

    assert rows == [Counted("a", 2), Counted("b", 1)]


@pytest.mark.parametrize("name", ["", "Runs", "a b", "x" * 31, '";drop'])
def test_a_name_that_is_no_name_in_sql_is_refused(name: str) -> None:
    with pytest.raises(ProjectionInvalid):
        Projection(name, version=1)
    with pytest.raises(ProjectionInvalid):
        Projection("fine", version=1).table(name, Counted, key=["run_id"])


def test_a_name_that_the_log_uses_is_refused() -> None:
    with pytest.raises(ProjectionInvalid, match="records"):
        Projection("fine", version=1).table("records", Counted, key=["run_id"])


def test_a_table_needs_a_key_of_its_own_fields() -> None:
    projection = Projection("fine", version=1)

    with pytest.raises(ProjectionInvalid, match="no key"):
        projection.table("a", Counted, key=[])
    with pytest.raises(ProjectionInvalid, match="'run'"):
        projection.table("b", Counted, key=["run"])


def test_on_needs_to_know_the_rows() -> None:
    table = Projection("fine", version=1).table("a", Counted, key=["run_id"])

    with pytest.raises(ProjectionInvalid, match="keys"):
        table.on(StepStarted)
