"""Source topics on the command line: which topic of Kafka, and how its messages are read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

import typer

from meshline.cli.errors import CommandRefused
from meshline.events.errors import PayloadRefused
from meshline.events.gate import check_identifier

if TYPE_CHECKING:
    from meshline.engine.intake import Intake
    from meshline.events.log import EventLog

__all__ = [
    "SourceBrokers",
    "SourceTopic",
    "SourceTopics",
    "brokers_of",
    "intakes_on",
    "source_topic",
]

SourceTopics = Annotated[
    list[str] | None,
    typer.Option(
        "--source-topic",
        metavar="TOPIC[=SOURCE[,id=FIELD]]",
        help="Take in what others write to this topic of Kafka; may be given several times.",
    ),
]
SourceBrokers = Annotated[
    str | None,
    typer.Option(metavar="HOST:PORT", help="Kafka of the source topics; by default the log's."),
]

_FIELDS = {"id": "id_field", "type": "type", "type_field": "type_field"}
_FORM = "TOPIC, TOPIC=SOURCE or TOPIC=SOURCE,id=FIELD (also type=NAME, type_field=FIELD)"


@dataclass(frozen=True, slots=True)
class SourceTopic:
    """One topic.

    Args:
        source: whose the signals are, whatever a CloudEvent says of itself; None: as it says, and
            nothing but CloudEvents is taken.
        fields: how plain JSON is read, as ``JsonMapping`` calls it.
    """

    topic: str
    source: str | None
    fields: dict[str, str]


def source_topic(text: str) -> SourceTopic:
    """Return what ``--source-topic`` says.

    Raises:
        CommandRefused: it says nothing that can be understood.
    """
    names, *options = text.split(",")
    topic, is_named, source = names.partition("=")
    fields: dict[str, str] = {}
    for option in options:
        name, _, value = option.partition("=")
        if name not in _FIELDS or not value or _FIELDS[name] in fields:
            raise _refused(text, f"{option!r} is no field of it")
        fields[_FIELDS[name]] = value
    try:
        check_identifier("topic", topic)
        if is_named:
            check_identifier("source", source)
    except PayloadRefused as refusal:
        raise _refused(text, refusal.message) from None
    if fields and not is_named:
        raise _refused(text, "plain JSON does not say from which source it is")
    return SourceTopic(topic, source if is_named else None, fields)


def _refused(text: str, why: str) -> CommandRefused:
    return CommandRefused(
        f"--source-topic is {text!r}, but {why}. Expected {_FORM}: correct the option."
    )


def brokers_of(log: str, given: str | None) -> str:
    """Return the servers of the source topics: those that were given, or the log's own.

    Raises:
        CommandRefused: the log is not in Kafka, and no servers were given.
    """
    if given:
        return given
    parts = urlsplit(log)
    if parts.scheme != "kafka":
        raise CommandRefused(
            "There are source topics, but nobody says in which Kafka: expected --source-brokers "
            "host:port, because the log is elsewhere. Add it."
        )
    return parts.netloc


def intakes_on(log: EventLog, topics: Sequence[SourceTopic], brokers: str) -> list[Intake]:
    """Return an intake of each topic. All workers of one log share the messages."""
    from meshline.engine.intake import Intake
    from meshline.events.log.kafka_signal import JsonMapping
    from meshline.events.log.kafka_source import KafkaSource

    # Another log has taken in nothing yet: it begins with the oldest message.
    group = f"meshline-intake-{log.identity.log_id}"

    def intake(topic: SourceTopic) -> Intake:
        mapping = None if topic.source is None else JsonMapping(source=topic.source, **topic.fields)
        return Intake(
            log,
            lambda: KafkaSource(brokers, topic.topic, group, mapping=mapping),
            name=topic.topic,
            counts_as=topic.source,
        )

    return [intake(topic) for topic in topics]
