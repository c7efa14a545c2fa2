"""A directory that is asked for is said in the partition, or refused, the same in every order."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import pytest

from meshline.engine.core.decision import Moment
from meshline.engine.core.directory import answer_directory
from meshline.engine.core.people import people_after
from meshline.engine.snapshots import dump_state, load_state
from meshline.events.directory import Directory, Group, Person
from meshline.events.envelope import Actor, Event
from meshline.events.facts import DirectoryChanged, RequestRejected
from meshline.events.people import NOBODY, People
from meshline.events.people_requests import DirectoryChangeRequested
from meshline.testing import RequestRefused, WorkflowTest
from tests.engine.core.test_answers import orders
from tests.engine.core.test_keeper import NOW


def of(*users: str, **roles: list[str]) -> Directory:
    return Directory(
        users={user: Person() for user in users},
        roles={name: Group(members=tuple(members)) for name, members in roles.items()},
    )


def asked(
    number: int, directory: Directory, by: str | None = "user:ada"
) -> Event[DirectoryChangeRequested]:
    data = DirectoryChangeRequested(number=number, directory=directory, reason="new people")
    actor = None if by is None else Actor("user", by)
    return Event("r", "meshline", "directory", NOW, data, NOW, actor=actor)


def after(people: People, *requests: Event[DirectoryChangeRequested]) -> tuple[People, list[Any]]:
    said = []
    for request in requests:
        decision = answer_directory(Moment(NOW, 1, people=people), request, "0:1")
        said.append(decision.data)
        if isinstance(decision.data, DirectoryChanged):
            event: Event[Any] = request
            people = people_after(people, event._replace(data=decision.data))
    return people, said


def test_what_is_asked_for_is_said_with_its_whole_content() -> None:
    directory = of("ada", lead=["user:ada"])

    people, (fact,) = after(NOBODY, asked(1, directory))

    assert (fact.number, fact.directory, fact.reason) == (1, directory, "new people")
    assert people.roster is not None
    assert people.roster.roles_of("user:ada") == {"user:ada", "role:lead"}


def test_changes_come_to_the_same_in_every_order() -> None:
    requests = [asked(1, of("ada")), asked(2, of("bob")), asked(2, of("cid"))]

    ends = {after(NOBODY, *order)[0].directory_hash for order in permutations(requests)}

    assert len(ends) == 1


@pytest.mark.parametrize(
    ("number", "directory", "by", "code"),
    [
        (1, of("ada", admin=["user:ada"]), "user:ada", "unchanged"),
        (0, of("ada"), "user:ada", "outdated"),
        (2, of("ada"), "user:bob", "not_allowed"),
        (2, of("ada"), None, "no_actor"),
        (2, of("ada", lead=["user:bob"]), "user:ada", "inconsistent"),
        (2, of("ada", admin=[]), "user:ada", "inconsistent"),
    ],
)
def test_what_can_not_be_is_refused(
    number: int, directory: Directory, by: str | None, code: str
) -> None:
    people, _ = after(NOBODY, asked(1, of("ada", admin=["user:ada"])))

    then, (fact,) = after(people, asked(number, directory, by))

    assert isinstance(fact, RequestRejected) and fact.code == code
    assert then == people


def test_the_engine_takes_it_in_and_a_snapshot_keeps_it() -> None:
    test = WorkflowTest(orders())

    test.given_directory(of("ada", admin=["user:ada"]))

    with pytest.raises(RequestRefused, match="only who has role:admin"):
        test.given_directory(of("bob"), by="user:bob")
    assert test.state.people.number == 1
    assert load_state(dump_state(test.state)).people == test.state.people
    test.restart()
    assert test.state.people.number == 1
