"""Events to bytes and back: one self-contained JSON object each (CloudEvents structured mode).

The same bytes serve every log, so that history can be copied from one to another as it is.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import orjson
from pydantic import BaseModel, ValidationError

from meshline.events.catalogue import CATALOGUE, type_name
from meshline.events.envelope import Actor, Event
from meshline.events.errors import EventUnreadable, EventVersionUnknown
from meshline.events.upcast import upcast

__all__ = ["CONTENT_TYPE", "decode", "encode", "plain"]

CONTENT_TYPE = "application/cloudevents+json"

_TYPE_NAMES = {data_type: name for name, data_type in CATALOGUE.items()}
_OPTIONS = orjson.OPT_UTC_Z


def plain(model: BaseModel) -> dict[str, Any]:
    """Return a model's fields as they go into the log: shallow, without those that are None."""
    return {name: value for name, value in model.__dict__.items() if value is not None}


def encode(event: Event[Any]) -> bytes:
    """Return the bytes of an event.

    Raises:
        TypeError: the data holds something that JSON has no word for. Payloads pass the gate
            before they reach an event, so this is a mistake in the program.
    """
    data_type = type(event.data)
    envelope: dict[str, Any] = {
        "specversion": "1.0",
        "id": event.id,
        "source": event.source,
        "type": _TYPE_NAMES.get(data_type) or type_name(data_type),
        "subject": event.subject,
        "time": event.time,
    }
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
    envelope["data"] = plain(event.data)
    return orjson.dumps(envelope, default=plain, option=_OPTIONS)


def decode(value: bytes) -> Event[Any]:
    """Return the event that the bytes hold, brought to its newest version.

    Raises:
        EventUnreadable: the bytes are no event; the message says what was found.
        EventVersionUnknown: the type or version is newer than this program, or not ours.
    """
    try:
        envelope = orjson.loads(value)
        name = envelope["type"]
        data = envelope["data"]
        data_type = CATALOGUE.get(name)
        if data_type is None:
            name, data = upcast(name, data)
            data_type = CATALOGUE.get(name)
        if data_type is None:
            raise EventVersionUnknown(
                f"Cannot read an event of type {name!r}: expected one of the {len(CATALOGUE)} types "
                "that this version of Meshline knows. This program is older than the writer: "
                "upgrade it, then restart."
            )
        time = datetime.fromisoformat(envelope["time"])
        recorded = envelope.get("recordedtime")
        epoch = envelope.get("epoch")
        auth_type = envelope.get("authtype")
        return Event(
            id=envelope["id"],
            source=envelope["source"],
            subject=envelope["subject"],
            time=time,
            data=data_type.model_validate(data),
            recorded_at=time if recorded is None else datetime.fromisoformat(recorded),
            epoch=None if epoch is None else int(epoch),
            sequence=None if epoch is None else int(envelope["sequence"]),
            causation_id=envelope.get("causationid"),
            correlation_id=envelope.get("correlationid"),
            actor=None if auth_type is None else Actor(auth_type, envelope["authid"]),
            traceparent=envelope.get("traceparent"),
        )
    except (KeyError, TypeError, ValueError, AttributeError, ValidationError) as error:
        raise EventUnreadable(
            f"Cannot read {value[:120]!r}: expected a CloudEvent of Meshline in JSON, but "
            f"{type(error).__name__}: {error}. Something else wrote to the log's topic or table: "
            "find the writer, and give it its own."
        ) from error
