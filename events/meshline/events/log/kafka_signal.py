"""From a message of a source topic to a signal: CloudEvents in both modes, and plain JSON.

Pure. Whatever comes gives a signal: what can't be read has a problem, and an identity of its own
(the topic's name and its address), so that it can be kept, listed and sent again like any other.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson

from meshline.events.errors import PayloadRefused
from meshline.events.gate import Gate, check_identifier
from meshline.events.moments import in_utc

__all__ = ["JsonMapping", "Message", "SourceSignal", "signal_of"]

STRUCTURED = "application/cloudevents"
ENVELOPE_BYTES_MAX = 16 * 1024
"""What a structured message may have around its data."""


@dataclass(frozen=True, slots=True)
class JsonMapping:
    """Where plain JSON messages hold what a CloudEvent would say.

    Args:
        id_field: names with dots between them, as in ``order.number``; empty takes the message's
            key. The value must name the signal for ever: the same id is the same trigger.
        source: the source of all messages, unless ``source_field`` is given.
        source_field: where the source is.
        type: the type of all messages, unless ``type_field`` is given. May be empty.
        type_field: where the type is.
    """

    id_field: str = ""
    source: str = ""
    source_field: str = ""
    type: str = ""
    type_field: str = ""


@dataclass(frozen=True, slots=True)
class Message:
    """A message of Kafka, as it came."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: Iterable[tuple[str, bytes | None]] = ()

    @property
    def address(self) -> str:
        return f"{self.topic}:{self.partition}:{self.offset}"


@dataclass(frozen=True, slots=True)
class SourceSignal:
    """One message, read.

    Args:
        payload: JSON in UTF-8 that passes the gate; None if there is a problem.
        problem: why it can't be a trigger as it is. Source and id are the message's own if it has
            them, or else the topic's name and the address.
        raw: the value as it came.
        address: ``topic:partition:offset``.
    """

    source: str
    trigger_id: str
    trigger_type: str
    payload: bytes | None
    problem: PayloadRefused | None
    raw: bytes
    address: str
    time: datetime | None = None
    traceparent: str | None = None


def signal_of(message: Message, mapping: JsonMapping | None, gate: Gate) -> SourceSignal:
    """Return what the message says.

    Args:
        mapping: how to read plain JSON; None takes CloudEvents only.
        gate: what a payload must pass.
    """
    raw = message.value or b""
    attributes: Mapping[str, Any] = {}
    payload: bytes | None = None
    problem: PayloadRefused | None = None
    headers: dict[str, str] = {}
    try:
        headers = _headers(message)
        content_type = headers.get("content-type", "").lower()
        if content_type.startswith(STRUCTURED):
            attributes = _structured(raw, content_type, gate)
            payload = _data(attributes)
        elif "ce_specversion" in headers or "ce_id" in headers:
            attributes = {k.removeprefix("ce_"): v for k, v in headers.items() if k[:3] == "ce_"}
            payload = _binary(message, content_type)
        else:
            payload = raw
            attributes = _mapped(message, mapping, gate)
        gate.parse(payload)
    except PayloadRefused as refusal:
        problem = refusal
    names = {"source": message.topic, "id": message.address, "type": ""}
    for name in names:
        value = attributes.get(name, "")
        try:
            if name != "type" or value != "":
                names[name] = check_identifier(name, value)
        except PayloadRefused as refusal:
            problem = problem or _no_identifier(name, value, message, refusal)
    return SourceSignal(
        source=names["source"],
        trigger_id=names["id"],
        trigger_type=names["type"],
        payload=None if problem else payload,
        problem=problem,
        raw=raw,
        address=message.address,
        time=_time(attributes.get("time")),
        traceparent=_text(attributes.get("traceparent")) or headers.get("traceparent"),
    )


def _headers(message: Message) -> dict[str, str]:
    try:
        # Names in lower case: the binding writes them so, and not every client does.
        return {
            name.lower(): value.decode() for name, value in message.headers if value is not None
        }
    except UnicodeDecodeError as error:
        raise PayloadRefused(
            "not_utf8", f"A header of {message.address} is no UTF-8: {error}. Send UTF-8."
        ) from None


def _structured(raw: bytes, content_type: str, gate: Gate) -> Mapping[str, Any]:
    """Return the CloudEvent that is the whole value."""
    if not content_type.startswith("application/cloudevents+json"):
        raise PayloadRefused(
            "unsupported_content_type",
            f"The content type is {content_type[:80]!r}: expected application/cloudevents+json. "
            "Send one event in JSON a message.",
        )
    # The whole passes a gate, one level deeper: writing its data out again changes nothing then.
    envelope = Gate(gate.payload_bytes_max + ENVELOPE_BYTES_MAX, gate.depth_max + 1).parse(raw)
    if not isinstance(envelope, dict):
        raise PayloadRefused(
            "not_json", f"The event is {str(raw[:40])!r}: expected a CloudEvent, a JSON object."
        )
    return envelope


def _data(envelope: Mapping[str, Any]) -> bytes:
    """Return the data of a structured event as JSON."""
    encoded = envelope.get("data_base64")
    if encoded is None:
        return orjson.dumps(envelope.get("data"))
    try:
        return base64.b64decode(encoded, validate=True)
    except (binascii.Error, TypeError, ValueError) as error:
        raise PayloadRefused(
            "not_json", f"data_base64 can't be read: {error}. Send the data as JSON in `data`."
        ) from None


def _binary(message: Message, content_type: str) -> bytes:
    media_type = content_type.partition(";")[0].strip()
    if media_type and not (media_type.endswith(("/json", "+json"))):
        raise PayloadRefused(
            "unsupported_content_type",
            f"The content type is {media_type[:80]!r}: expected JSON. Send application/json.",
        )
    return b"null" if message.value is None else message.value


def _mapped(message: Message, mapping: JsonMapping | None, gate: Gate) -> Mapping[str, Any]:
    """Return the attributes of a message that is no CloudEvent."""
    if mapping is None:
        raise PayloadRefused(
            "no_cloudevent",
            f"Message {message.address} is no CloudEvent: expected ce_ headers or content type "
            "application/cloudevents+json. Send CloudEvents, or give plain JSON a mapping.",
        )
    if message.value is None:
        raise PayloadRefused(
            "empty_message",
            f"Message {message.address} has no value: expected JSON. Leave deletions out.",
        )
    payload = gate.parse(message.value)
    key = (message.key or b"").decode(errors="replace")
    return {
        "id": _at(payload, mapping.id_field) if mapping.id_field else key,
        "source": _at(payload, mapping.source_field) if mapping.source_field else mapping.source,
        "type": _at(payload, mapping.type_field) if mapping.type_field else mapping.type,
    }


def _at(payload: Any, path: str) -> str:
    """Return the text or whole number at the path; empty if there is none."""
    for name in path.split("."):
        payload = payload.get(name) if isinstance(payload, dict) else None
    is_number = isinstance(payload, int) and not isinstance(payload, bool)
    return str(payload) if is_number else _text(payload) or ""


def _no_identifier(
    name: str, value: object, message: Message, refusal: PayloadRefused
) -> PayloadRefused:
    if value != "":
        return refusal
    return PayloadRefused(
        "no_identifier",
        f"Message {message.address} has no {name}: expected 1 to 256 characters. Set it in the "
        "CloudEvent, or correct the mapping.",
    )


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _time(value: object) -> datetime | None:
    """Return the event's time; None if there is none, or none that says which moment it is.

    Many a program writes the year 1 where it knows of no time.
    """
    try:
        return in_utc(datetime.fromisoformat(value)) if isinstance(value, str) else None
    except ValueError:
        return None
