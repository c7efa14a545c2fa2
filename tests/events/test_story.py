"""Every event can be told in one line."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given

from meshline.events import facts, requests
from meshline.events.catalogue import CATALOGUE
from meshline.events.envelope import Actor, Event
from meshline.events.story import VALUE_LENGTH_MAX, sentence, story
from tests.events.strategies import events

NOW = datetime(2026, 3, 1, 23, 30, tzinfo=UTC)


def event(data: Any, actor: Actor | None = None) -> Event[Any]:
    return Event("e", "test", "run", NOW, data, NOW, actor=actor)


@given(events())
def test_whatever_the_log_holds_is_one_line(event: Event[Any]) -> None:
    text = sentence(event)

    assert text
    assert len(text.splitlines()) == 1


@pytest.mark.parametrize("data_type", CATALOGUE.values())
def test_every_type_has_words(data_type: Any) -> None:
    from meshline.events.story import _TELLERS

    assert data_type in _TELLERS


def test_a_line_begins_with_the_time_where_the_reader_is() -> None:
    (line,) = story([event(facts.TimerFired(timer="cool_off"))], timezone(timedelta(hours=2)))

    assert str(line) == "2026-03-02 01:30:00  cool_off woke up"


def test_who_acted_is_named_and_rules_are_not_people() -> None:
    denied = facts.ApprovalDenied(approval="big_deal", by="user:ada", reason="too dear")
    assigned = facts.OwnerAssigned(owner="team:emea", rule="route")

    assert sentence(event(denied, Actor("user", "user:ada"))) == (
        "big_deal was denied, because: too dear (by user:ada)"
    )
    assert sentence(event(assigned, Actor("rule", "route"))) == (
        "the owner is team:emea by the rule route"
    )


def test_a_retry_says_when_it_comes() -> None:
    data = facts.StepRetryScheduled(step="enrich", attempt=2, at=NOW, delay_s=4000)

    assert sentence(event(data)) == "enrich will be tried again in 1:06:40, as try 2"


def test_values_are_shown_short_or_not_at_all() -> None:
    data = requests.TriggerReceived(source="web", trigger_id="t1", payload={"a": "x" * 500})

    assert len(sentence(event(data))) < VALUE_LENGTH_MAX + 40
    assert sentence(event(data)).startswith('web sent the trigger t1: {"a":"xxx')
    assert sentence(event(data), values=False) == "web sent the trigger t1"


def test_a_refusal_says_what_was_asked_in_words() -> None:
    refused = facts.RequestRejected(
        request="meshline.owner.change.requested", code="not_allowed", reason="Refused: no."
    )

    assert (
        sentence(event(refused))
        == "the request (owner change) was refused: not_allowed: Refused: no."
    )
