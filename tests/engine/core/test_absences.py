"""Who stands in for somebody may do what they may, for that time; and who may say so."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import permutations
from typing import Any

import pytest

from meshline.engine.core.absences import ABSENCES_MAX, answer_absence
from meshline.engine.core.decision import Moment
from meshline.engine.core.people import people_after
from meshline.engine.snapshots import dump_state, load_state
from meshline.events import facts
from meshline.events.envelope import Actor, Event
from meshline.events.people import NOBODY, Absence, People
from meshline.events.people_requests import AbsenceChangeRequested
from meshline.testing import RequestRefused, WorkflowTest
from tests.engine.core.test_keeper import NOW
from tests.engine.core.test_task_actions import WITH_ADMIN, decided
from tests.engine.core.test_task_answers import asked, refused

HOUR = timedelta(hours=1)


def away(
    test: WorkflowTest,
    user: str = "user:ada",
    substitute: str | None = "user:dot",
    *,
    since: timedelta = timedelta(),
    until: timedelta = HOUR,
    by: str | None = None,
) -> None:
    request = AbsenceChangeRequested(
        user=user, substitute=substitute, since=test.now + since, until=test.now + until
    )
    test.ask("absences", request, by=by or user)


def test_a_substitute_decides_in_their_place_and_both_are_kept() -> None:
    test, run = asked()
    away(test)

    run.approve("deal", by="user:dot")

    assert (decided(run).by, decided(run).on_behalf_of) == ("user:dot", "user:ada")


def test_nobody_stands_in_before_or_after_that_time() -> None:
    test, run = asked()
    away(test, since=HOUR, until=2 * HOUR)

    refused(run, "not_allowed", by="user:dot")
    test.advance("2h")
    refused(run, "not_allowed", by="user:dot")


def test_who_is_back_is_back() -> None:
    test, run = asked()
    away(test)
    test.advance("1m")

    away(test, substitute=None)

    refused(run, "not_allowed", by="user:dot")


def test_a_substitute_has_one_vote_with_the_one_they_stand_in_for() -> None:
    test, run = asked(of=2)
    run.approve("deal", by="user:ada")
    away(test)

    refused(run, "already_voted", by="user:dot")
    run.approve("deal", by="user:bob")

    assert run.state == "succeeded"


def test_nobody_stands_in_to_decide_what_the_other_asks_for() -> None:
    test, run = asked(sent_by="user:ada")
    away(test)

    refused(run, "own_request", "user:ada asks for it", by="user:dot")


def test_a_substitute_does_what_an_admin_may_and_with_what_the_other_has() -> None:
    test, run = asked()
    test.given_directory(WITH_ADMIN)
    away(test, "user:dot", "user:eve")
    run.act("deal", "assign", by="user:eve", to="user:ada")
    away(test, "user:ada", "user:cid")

    run.act("deal", "delegate", by="user:cid", to="user:bob")
    run.approve("deal", by="user:bob")

    assert (decided(run).by, decided(run).on_behalf_of) == ("user:bob", "user:ada")


def test_a_substitute_is_given_nothing_of_their_own() -> None:
    test, run = asked(sent_by="user:cid")
    test.given_directory(WITH_ADMIN)
    away(test, "user:ada", "user:eve")

    with pytest.raises(RequestRefused, match="user:eve may not decide"):
        run.act("deal", "assign", by="user:dot", to="user:eve")


def test_what_is_had_in_ones_own_name_is_not_decided_as_a_substitute() -> None:
    """Claimed before there was a directory, by somebody who then only stands in."""
    test, run = asked(directory=False, sent_by="user:cid")
    run.act("deal", "claim", by="user:eve")
    test.given_directory(WITH_ADMIN)
    away(test, "user:ada", "user:eve")

    refused(run, "not_allowed", "user:eve is none of them", by="user:eve")
    run.act("deal", "release", by="user:eve")
    run.act("deal", "claim", by="user:eve")
    run.approve("deal", by="user:eve")

    assert (decided(run).by, decided(run).on_behalf_of) == ("user:eve", "user:ada")


def test_a_substitute_of_a_substitute_is_none() -> None:
    test, run = asked()
    away(test)
    away(test, "user:dot", "user:eve")

    refused(run, "not_allowed", by="user:eve")


def test_only_they_and_an_admin_say_so_and_no_substitute() -> None:
    test, _ = asked()
    test.given_directory(WITH_ADMIN)
    away(test, "user:ada", "user:bob", by="user:dot")

    with pytest.raises(RequestRefused, match="only user:ada and who has role:admin"):
        away(test, "user:ada", "user:bob", until=9 * HOUR, by="user:bob")


@pytest.mark.parametrize(
    ("user", "substitute", "since", "until", "words"),
    [
        ("user:ada", "user:ada", 0, 1, "stand in for themselves"),
        ("user:ada", "team:sales", 0, 1, "expected a user such as"),
        ("user:x", "user:ada", 0, 1, "user:x is not in the directory"),
        ("user:ada", "user:bob", 2, 1, "expected an end after"),
        ("user:ada", "user:bob", 0, 24 * 367, "at most 366 days later"),
        ("user:ada", "user:bob", 24 * 367, 24 * 368, "days ahead"),
    ],
)
def test_what_can_not_be_is_refused(
    user: str, substitute: str, since: int, until: int, words: str
) -> None:
    test, _ = asked()

    with pytest.raises(RequestRefused, match=words) as error:
        away(test, user, substitute, since=since * HOUR, until=until * HOUR, by="user:eve")

    assert error.value.code == "invalid"


# -- one partition like the other --------------------------------------------------------------


def request(minute: int, substitute: str | None = "user:bob", user: str = "user:ada") -> Event[Any]:
    time = NOW + timedelta(minutes=minute)
    data = AbsenceChangeRequested(user=user, substitute=substitute, since=NOW, until=NOW + HOUR)
    return Event("r", "meshline", "absences", time, data, time, actor=Actor("user", user))


def after(people: People, now: datetime, *requests: Event[Any]) -> tuple[People, list[Any]]:
    said = []
    for each in requests:
        decision = answer_absence(Moment(now, 1, people=people), each, "0:1")
        said.append(decision.data)
        if isinstance(decision.data, facts.AbsenceChanged):
            people = people_after(people, each._replace(data=decision.data, time=now))
    return people, said


def test_what_was_asked_last_counts_in_every_order() -> None:
    requests = [request(1), request(2, None), request(3, "user:cid"), request(3, "user:dot")]

    ends = {after(NOBODY, NOW + HOUR, *order)[0].absences for order in permutations(requests)}

    assert [[a.substitute for a in each] for each in ends] == [["user:dot"]]


def test_a_clock_that_is_ahead_keeps_out_nothing_later() -> None:
    people, _ = after(NOBODY, NOW, request(600))

    people, (fact,) = after(people, NOW + timedelta(minutes=1), request(1, "user:cid"))

    assert isinstance(fact, facts.AbsenceChanged) and fact.substitute == "user:cid"


def test_what_is_long_over_is_forgotten_and_there_is_an_end_to_how_many() -> None:
    many = tuple(
        Absence(f"user:u{n}", "user:bob", NOW, NOW + HOUR, NOW) for n in range(ABSENCES_MAX)
    )
    full = People(absences=many)

    _, (refusal,) = after(full, NOW, request(0))
    assert "1000 people are away already" in refusal.reason

    later, _ = after(full, NOW + timedelta(days=2), request(1, user="user:u1"))
    assert [each.absent for each in later.absences] == ["user:u1"]


def test_a_snapshot_keeps_who_is_away_and_who_is_gone() -> None:
    test, _ = asked()
    away(test)
    away(test, "user:bob", None, until=timedelta())
    test.given_directory(WITH_ADMIN)
    users = {name: user for name, user in WITH_ADMIN.users.items() if name != "eve"}
    test.given_directory(WITH_ADMIN.model_copy(update={"users": users}), by="user:dot")

    loaded = load_state(dump_state(test.state))

    assert loaded.people == test.state.people
    assert len(loaded.people.absences) == 2 and loaded.people.gone == {"user:eve"}
