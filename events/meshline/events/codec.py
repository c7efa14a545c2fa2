"""Events to bytes and back: one self-contained JSON object each (CloudEvents structured mode).

The same bytes serve every log, so that history can be copied from one to another as it is.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any, NamedTuple

import orjson
from pydantic import BaseModel, ValidationError

from meshline.events.catalogue import CATALOGUE, type_name
from meshline.events.envelope import Actor, Event, Position
from meshline.events.errors import EventUnreadable, EventVersionUnknown, PayloadRefused
from meshline.events.facts import PartitionClaimed
from meshline.events.moments import TIME_MAX, TIME_MIN, in_utc
from meshline.events.requests import Request
from meshline.events.text import holds_nul
from meshline.events.upcast import upcast

__all__ = ["CONTENT_TYPE", "Glance", "decode", "encode", "glance", "numbers_of", "plain"]

CONTENT_TYPE = "application/cloudevents+json"

_TYPE_NAMES = {data_type: name for name, data_type in CATALOGUE.items()}
# What `model_validate` calls in the end, at half of its time.
_VALIDATORS = {name: c.__pydantic_validator__.validate_python for name, c in CATALOGUE.items()}
_OPTIONS = orjson.OPT_UTC_Z
# The class's own constructor is a Python function, at three times the time.
_new = tuple.__new__


def plain(model: BaseModel) -> dict[str, Any]:
    """Return a model's fields as they go into the log: shallow, without those that are None."""
    return {name: value for name, value in model.__dict__.items() if value is not None}


def encode(event: Event[Any]) -> bytes:
    """Return the bytes of an event.

    Payloads pass the gate before they reach an event, so each error here is a mistake in the
    program; it is raised because a view that met such an event would stop.

    Raises:
        TypeError: the data holds something that JSON has no word for.
        PayloadRefused: ``nul_character`` or ``bad_time``.
    """
    assert event.time.tzinfo is not None and event.recorded_at.tzinfo is not None, event
    if not TIME_MIN <= event.time < TIME_MAX:
        raise PayloadRefused(
            "bad_time",
            f"Cannot write {type_name(type(event.data))} {event.id!r}: its time is {event.time}, "
            "which no reader takes. Let what comes from outside pass `moments.in_utc` first.",
        )
    data_type = type(event.data)
    envelope: dict[str, Any] = {
        "specversion": "1.0",
        "id": event.id,
        "source": event.source,
        "type": _TYPE_NAMES.get(data_type) or type_name(data_type),
    }
    if event.subject:
        envelope["subject"] = event.subject
    envelope["time"] = event.time
    if event.epoch is not None:
        envelope["epoch"] = str(event.epoch)
        envelope["sequence"] = str(event.sequence)
    if event.recorded_at != event.time:
        envelope["recordedtime"] = event.recorded_at
    if event.causation_id is not None:
        envelope["causationid"] = event.causation_id
    if event.correlation_id is not None:
        envelope["correlationid"] = event.correlation_id
    if event.actor is not None:
        envelope["authtype"], envelope["authid"] = event.actor
    if event.traceparent is not None:
        envelope["traceparent"] = event.traceparent
    # Last, so that a reader who looks for one attribute need not read the data.
    envelope["data"] = plain(event.data)
    value = orjson.dumps(envelope, default=plain, option=_OPTIONS)
    if holds_nul(value):
        raise PayloadRefused(
            "nul_character",
            f"Cannot write {type_name(data_type)} {event.id!r}: it holds the character U+0000, "
            "which PostgreSQL can't store. Let what comes from outside pass the gate first.",
        )
    return value


def decode(value: bytes, position: Position | None = None) -> Event[Any]:
    """Return the event that the bytes hold, brought to its newest version.

    Args:
        position: where the bytes stand, for the message of an error.
    Raises:
        EventUnreadable: the bytes are no event; the message says what was found.
        EventVersionUnknown: the type or version is newer than this program, or not ours.
    """
    try:
        envelope = orjson.loads(value)
        name, data = envelope["type"], envelope["data"]
        validate = _VALIDATORS.get(name)
        if validate is None:
            name, data = upcast(name, data)
            validate = _VALIDATORS.get(name)
        if validate is None:
            raise _unknown(name, position)
        get = envelope.get
        time = _moment(envelope["time"])
        recorded, epoch, auth_type = get("recordedtime"), get("epoch"), get("authtype")
        event: Event[Any] = _new(
            Event,
            (
                envelope["id"],
                envelope["source"],
                get("subject", ""),
                time,
                validate(data),
                time if recorded is None else _moment(recorded),
                None if epoch is None else int(epoch),
                None if epoch is None else int(envelope["sequence"]),
                get("causationid"),
                get("correlationid"),
                None if auth_type is None else _new(Actor, (auth_type, envelope["authid"])),
                get("traceparent"),
            ),
        )
        _check_attributes(event)
        return event
    except (KeyError, TypeError, ValueError, AttributeError, ValidationError) as error:
        raise EventUnreadable(
            f"Cannot read {value[:120]!r}{_at(position)}: expected a CloudEvent of Meshline in "
            f"JSON, but {type(error).__name__}: {str(error)[:400]}. Something else wrote to the "
            "log's topic or table: find the writer, and give it its own."
        ) from error


def numbers_of(value: bytes) -> tuple[int, int] | None:
    """Return epoch and number of a fact whose bytes can't be decoded; None if they hold none.

    A type that this program does not know is taken for a newer writer's fact, where it has numbers.
    """
    try:
        envelope = orjson.loads(value)
        kind = CATALOGUE.get(envelope["type"])
        numbers = int(envelope["epoch"]), int(envelope["sequence"])
    except (KeyError, TypeError, ValueError):
        return None
    return None if kind is not None and issubclass(kind, Request) else numbers


class Glance(NamedTuple):
    """What can be seen of an event without decoding it; ``causation`` as bytes."""

    epoch: int | None
    sequence: int
    causation: bytes | None
    is_claim: bool


_NUMBERS = re.compile(rb',"epoch":"([0-9]{1,19})","sequence":"([0-9]{1,19})"')
_CAUSATION = re.compile(rb',"causationid":"([^"]*)"')
_CLAIM = f'"type":"{type_name(PartitionClaimed)}"'.encode()


def glance(value: bytes) -> Glance:
    """Return what ``encode`` wrote about an event's place, for readers that want few of many.

    Facts are only ever written by ``encode``; what others wrote looks like a request.
    """
    # Within a text the quote would be escaped: this is where the data begins.
    head = value.partition(b',"data":')[0]
    numbers = _NUMBERS.search(head)
    if numbers is None:
        return Glance(None, 0, None, _CLAIM in head)
    causation = _CAUSATION.search(head, numbers.end())
    return Glance(
        int(numbers[1]), int(numbers[2]), None if causation is None else causation[1], False
    )


def _moment(text: str) -> datetime:
    return in_utc(datetime.fromisoformat(text))


_TEXT_OR_NONE = frozenset({str, type(None)})


def _check_attributes(event: Event[Any]) -> None:
    event_id, source, subject, _, _, _, _, _, causation, correlation, actor, trace = event
    if not (
        event_id.__class__ is source.__class__ is subject.__class__ is str
        and causation.__class__ in _TEXT_OR_NONE
        and correlation.__class__ in _TEXT_OR_NONE
        and trace.__class__ in _TEXT_OR_NONE
        and (actor is None or (actor[0].__class__ is str and actor[1].__class__ in _TEXT_OR_NONE))
    ):
        raise TypeError(f"an attribute among {event._replace(data=None)!r} is no text")
    if not (event_id and source):
        raise ValueError("id and source are required and must not be empty")


def _at(position: Position | None) -> str:
    if position is None:
        return ""
    return f" at partition {position.partition}, position {position.offset}"


def _unknown(name: object, position: Position | None) -> EventVersionUnknown:
    kind, _, version = str(name)[:200].rpartition(".v")
    known = sorted(c.VERSION for c in CATALOGUE.values() if kind == c.TYPE)
    if known:
        return EventVersionUnknown(
            f"Cannot read event {kind!r}{_at(position)}: expected version {known[-1]} or older, "
            f"found {version}. This program is older than the writer: upgrade it, then restart."
        )
    return EventVersionUnknown(
        f"Cannot read an event of type {str(name)[:200]!r}{_at(position)}: expected one of the "
        f"{len(CATALOGUE)} types that this version of Meshline knows. If the type is Meshline's, "
        "this program is older than the writer: upgrade it, then restart. If not, something else "
        "writes to the log: give it its own."
    )
