"""The envelope around an event."""

from __future__ import annotations

from datetime import UTC, datetime

from meshline.events.envelope import Event, Position
from meshline.events.facts import RunCancelled

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def test_a_numbered_event_is_a_fact_whose_id_follows_from_its_number() -> None:
    event = Event("", "", "run", NOW, RunCancelled(reason="x"), NOW, causation_id="0:1")

    fact = event.numbered(12, 3, "meshline/0")

    assert (fact.id, fact.source, fact.epoch, fact.sequence) == ("12-3", "meshline/0", 12, 3)
    assert (fact.subject, fact.data, fact.causation_id) == ("run", event.data, "0:1")
    assert fact.is_fact and not event.is_fact


def test_a_position_reads_as_partition_and_offset() -> None:
    assert str(Position(3, 1041)) == "3:1041"
