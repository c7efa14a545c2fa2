"""Work at the command line: whose it is and why, and how much everybody has."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
import typer

from meshline.cli.work import list_work, people, queues
from meshline.projections.pages import Page
from meshline.projections.work import WorkRow, work_of
from meshline.projections.work_queries import PersonLoad, QueueLoad
from tests.cli import rows
from tests.cli.doubles import NOW, FakeViews, TestedCall
from tests.projections.test_work import away
from tests.projections.test_work import people as known


class Views(FakeViews):
    async def work(self, user: str, now: Any, **options: Any) -> Page[WorkRow]:
        self.asked.append((user, options))
        return Page(self.lists.get("work", []), self.next_page)


def row(**changes: Any) -> WorkRow:
    asked = rows.approval(candidates=["role:lead"], **changes)
    absence = away("user:bob", "user:ada")
    found = work_of(asked, known(absence), "user:ada", absence.since)
    assert found is not None
    return found


async def test_a_list_says_why_it_is_theirs_and_for_whom() -> None:
    work = [
        row(priority="urgent"),
        row(assignee="user:ada"),
        row(assignee="user:cid", delegate="user:ada"),
        row(assignee="user:bob"),
    ]
    views = Views({"work": work}, next_page="abc")
    call = TestedCall(views=views)

    await list_work(call, limit=4)

    first, *others = call.data.splitlines()[1:]
    assert "in 3h" in first and "urgent" in first and first.endswith("one of role:lead")
    assert others[0].endswith("user:ada has it")
    assert others[1].endswith("user:cid delegated it")
    assert others[2].endswith("user:bob has it; for user:bob, who is away")
    assert "--after abc" in call.words
    assert views.asked == [("user:ada", {"limit": 4, "after": None})]


async def test_nobody_has_the_work_of_a_name_that_is_none() -> None:
    with pytest.raises(typer.BadParameter, match="'bob' is nobody"):
        await list_work(TestedCall(), user="bob")


async def test_people_and_queues_are_listed_with_what_they_have() -> None:
    old = NOW - timedelta(hours=2)
    load = PersonLoad("user:ada", 3, 1, 2, 7, old, NOW, "user:bob")
    views = Views({"person_loads": [load], "queue_loads": [QueueLoad("role:lead", 9, 5, 1, old)]})
    call = TestedCall(views=views)

    await people(call)
    await queues(call)

    _, person, _, queue = call.data.splitlines()
    assert person.split()[:6] == ["user:ada", "3", "1", "2", "7", "2h"]
    assert person.split()[-1] == "user:bob"
    assert queue.split() == ["role:lead", "9", "5", "1", "2h"]
