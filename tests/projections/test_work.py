"""Whose work something is: as the engine lets them decide it, and told why."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from meshline.engine.core.decision import Decision, Moment
from meshline.engine.core.state import NodeState, TaskState, Vote
from meshline.engine.core.task_rights import Asked, right_to_decide
from meshline.events.directory import Directory, Group, Person, Roster
from meshline.events.envelope import Actor, Event
from meshline.events.people import Absence, People
from meshline.events.requests import ApprovalSubmitted
from meshline.projections.tasks_view import TaskRow
from meshline.projections.work import order_of, right_to, work_of
from meshline.workflow.spec import ApprovalNode
from tests.projections.given import at

USERS = ("user:ada", "user:bob", "user:cid", "user:dot")
DIRECTORY = Directory(
    users={name: Person() for name in ("ada", "bob", "cid", "dot")},
    teams={"emea": Group(members=("user:cid",))},
    roles={"lead": Group(members=("user:ada", "user:bob", "team:emea"))},
    queues={"board": Group(members=("user:dot",))},
)
ROW = TaskRow(
    run_id="r1", task="deal", kind="approval", workflow="lead", state="requested", by="role:lead",
    owner="role:lead", due_at=None, escalate_to=None, form_schema=None, requested_at=at(0),
    decided_by=None, decided_at=None, reason="", form=None, requester=None, of=1, votes=[],
    reminded_at=None, on_behalf_of=None, assignee=None, delegate=None, priority="normal",
    follow_up_at=None, candidates=["role:lead"], voted=[], first_requested_at=at(0),
    changed_at=at(0),
)  # fmt: skip


def people(*absences: Absence) -> People:
    return People(roster=Roster(DIRECTORY), absences=absences)


def away(user: str, substitute: str) -> Absence:
    return Absence(user, substitute, at(0), at(60), at(0))


def why(row: TaskRow, user: str, known: People | None = None) -> Any:
    work = work_of(row, known or people(), user, at(5))
    return None if work is None else (work.why, work.candidate_by, work.substitute_of)


def test_nobodys_is_that_of_all_who_were_asked_through_the_role_that_they_are_in() -> None:
    assert why(ROW, "user:ada") == ("candidate", "role:lead", None)
    assert why(ROW, "user:cid") == ("candidate", "role:lead", None)
    assert why(ROW, "user:dot") is None
    handed_on = ROW._replace(candidates=["role:lead", "queue:board"])
    assert why(handed_on, "user:dot") == ("candidate", "queue:board", None)


def test_what_somebody_has_is_theirs_alone_and_their_delegates() -> None:
    has = ROW._replace(assignee="user:ada")
    assert why(has, "user:ada") == ("claimed", None, None)
    assert why(has, "user:bob") is None
    lent = has._replace(delegate="user:dot")
    assert why(lent, "user:dot") == ("delegated", None, None)
    assert why(lent, "user:ada") == ("claimed", None, None)


def test_who_stands_in_has_what_the_other_has_and_is_told_for_whom() -> None:
    known = people(away("user:ada", "user:dot"))
    assert why(ROW, "user:dot", known) == ("candidate", "role:lead", "user:ada")
    has = ROW._replace(assignee="user:ada")
    assert why(has, "user:dot", known) == ("claimed", None, "user:ada")
    assert work_of(has, known, "user:dot", at(61)) is None


def test_what_comes_first_is_due_first_then_urgent_then_old() -> None:
    rows = [
        ROW._replace(run_id="old"),
        ROW._replace(run_id="new", requested_at=at(1)),
        ROW._replace(run_id="urgent", requested_at=at(2), priority="urgent"),
        ROW._replace(run_id="later", requested_at=at(3), due_at=at(90)),
        ROW._replace(run_id="soon", requested_at=at(4), due_at=at(9), priority="low"),
    ]

    found = [row.run_id for row in sorted(rows, key=order_of)]

    assert found == ["soon", "later", "urgent", "old", "new"]


def drawn(random: Random) -> tuple[TaskRow, People]:
    """Return any question, and any who are away."""

    def user() -> str | None:
        return random.choice([None, *USERS, "user:gone"])

    of = random.choice([1, 1, 2])
    voted = [each for each in (user(), user()) if each][: 2 * (of - 1)]
    assignee = None if of > 1 else user()
    row = ROW._replace(
        of=of,
        requester=random.choice([None, *USERS]),
        candidates=random.sample(["role:lead", "queue:board", "user:bob"], random.randint(1, 3)),
        assignee=assignee,
        delegate=None if assignee is None else user(),
        votes=voted[:1],
        voted=voted,
    )
    pairs = [random.sample(USERS, 2) for _ in range(random.randint(0, 3))]
    return row, people(*(away(*pair)._replace(since=at(random.choice([0, 9]))) for pair in pairs))


def engine_says(row: TaskRow, known: People, user: str) -> bool:
    first, *others = row.candidates
    node = ApprovalNode(name="deal", by=first, escalate=tuple(others), of=row.of)
    vote = Vote(row.voted[0], row.voted[1] if len(row.voted) > 1 else None) if row.voted else None
    task = TaskState(
        requester=row.requester,
        votes=() if vote is None else (vote,),
        assignee=row.assignee,
        delegate=row.delegate,
    )
    state = NodeState("requested", at(0), escalations=len(others), task=task)
    request: Event[Any] = Event(
        id="q", source="test", subject="r1", time=at(5), recorded_at=at(5),
        actor=Actor("user", user), data=ApprovalSubmitted(approval="deal", decision="approved"),
    )  # fmt: skip
    moment = Moment(at(5), 0, people=known)
    return not isinstance(right_to_decide(Asked(node, state, request, "0:1", moment)), Decision)


@pytest.mark.parametrize("seed", range(20))
def test_a_list_shows_what_the_engine_would_let_them_decide_and_nothing_else(seed: int) -> None:
    random, may = Random(seed), 0
    for _ in range(100):
        row, known = drawn(random)
        for user in USERS:
            says = engine_says(row, known, user)
            may += says
            assert (right_to(row, known, user, at(5)) is not None) is says, (row, known, user)
    assert 20 < may < 380
