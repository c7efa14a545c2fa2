"""The gate: the one check that every payload passes on its way in.

What passes can be kept by every log and stored by every view: PostgreSQL's ``jsonb`` refuses some
of what Kafka and JSON parsers take, and one such payload must never stop a view. What passes also
means one thing only: a key that stands twice, or an integer that would be rounded, is refused
rather than changed.
"""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
import math
import re
import reprlib
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from itertools import chain
from typing import Any, NoReturn
from uuid import UUID

import orjson

from meshline.events.errors import PayloadRefused
from meshline.events.moments import in_utc
from meshline.events.requests import Unreadable
from meshline.events.text import holds_nul

__all__ = [
    "IDENTIFIER_BYTES_MAX",
    "IDENTIFIER_LENGTH_MAX",
    "KEPT_BYTES",
    "SKETCH_BYTES_MAX",
    "Gate",
    "check_identifier",
    "check_time",
    "kept",
    "sketched",
]

KEPT_BYTES = 16 * 1024
"""How much of a refused payload is kept for a person to look at."""

SKETCH_BYTES_MAX = 64 * 1024
"""How much of a refused object is written out, to be kept and hashed."""

IDENTIFIER_LENGTH_MAX = 256
"""Characters in a source, trigger id, owner or the like: they are keys in views."""

IDENTIFIER_BYTES_MAX = 512
"""The same in UTF-8. PostgreSQL's index takes 2,704 bytes a row: five of them fit into a key."""

_SPACE = b" \t\r\n"
_LONG_INTEGER = re.compile(rb"[0-9]{19}")
_INTEGER_MIN, _INTEGER_MAX = -(2**63), 2**64 - 1


@dataclass(frozen=True, slots=True)
class Gate:
    """The limits.

    Args:
        payload_bytes_max: size of one payload as JSON, in bytes; 64 KiB by default.
        depth_max: how deep arrays and objects may be nested; 0 is a single value.
    """

    payload_bytes_max: int = 64 * 1024
    depth_max: int = 64

    def parse(self, raw: bytes) -> Any:
        """Return the JSON value that the bytes hold.

        Raises:
            PayloadRefused: ``too_large``, ``not_utf8``, ``not_json``, ``too_deep``,
                ``nul_character``, ``lone_surrogate``, ``duplicate_key`` or
                ``number_out_of_range``.
        """
        self._check_size(len(raw))
        try:
            payload = orjson.loads(raw)
        except orjson.JSONDecodeError as error:
            _refuse_unparsed(raw, error)
        if raw.count(b"[") + raw.count(b"{") > self.depth_max:
            self._check_depth(payload)
        written = self._written(payload)
        # Space aside, the same bytes say the same; only what differs needs the slow look.
        if written != raw and written.translate(None, _SPACE) != raw.translate(None, _SPACE):
            _check_unchanged(raw)
        return payload

    def check(self, payload: Any) -> Any:
        """Return the value as plain JSON types, a copy; models, dates and enums become those.

        Raises:
            PayloadRefused: as ``parse``, and ``not_json`` for values that JSON has no word for.
        """
        # Every value takes a byte at least: this bounds what refers to itself again and again.
        room = [self.payload_bytes_max]
        try:
            result = self._plain(payload, self.depth_max, room)
        except PayloadRefused:
            raise
        except Exception as error:
            # The caller's objects run their own code here, which may raise whatever it likes.
            raise PayloadRefused(
                "not_json",
                f"The payload can't be written as JSON: {type(error).__name__}: "
                f"{_shown(error)}. Send plain JSON values.",
            ) from None
        self._written(result)
        return result

    def _check_size(self, size_bytes: int) -> None:
        if size_bytes > self.payload_bytes_max:
            raise PayloadRefused(
                "too_large",
                f"The payload has {size_bytes} bytes: expected at most {self.payload_bytes_max}. "
                "Keep large content elsewhere and send its address.",
            )

    def _written(self, payload: Any) -> bytes:
        """Return plain values as the log will hold them; only then is their size known."""
        try:
            written = orjson.dumps(payload)
        except TypeError as error:
            raise PayloadRefused(
                "lone_surrogate",
                f"The payload can't be written as UTF-8: {error}. Half of a UTF-16 pair is no "
                "character: remove it.",
            ) from None
        self._check_size(len(written))
        if holds_nul(written):
            raise PayloadRefused(
                "nul_character",
                "The payload holds the character U+0000, which PostgreSQL can't store. Remove it.",
            )
        return written

    def _check_depth(self, payload: Any) -> None:
        level = _containers([payload])
        for _ in range(self.depth_max):
            if not level:
                return
            below = (v if type(v) is list else v.values() for v in level)
            level = _containers(chain.from_iterable(below))
        if level:
            self._refuse_depth()

    def _refuse_depth(self) -> NoReturn:
        raise PayloadRefused(
            "too_deep",
            f"The payload is nested deeper than {self.depth_max} levels. Send a flatter one.",
        )

    def _plain(self, value: Any, depth_left: int, room: list[int]) -> Any:
        room[0] -= 1
        if room[0] < 0:
            raise PayloadRefused(
                "too_large",
                f"The payload has more than {self.payload_bytes_max} bytes, which is the limit. "
                "Keep large content elsewhere and send its address.",
            )
        kind = type(value)
        if kind is str or kind is bool or value is None:
            return value
        if kind is dict:
            if depth_left == 0:
                self._refuse_depth()
            result = {}
            for key, item in value.items():
                if type(key) is not str:
                    _refuse_key(key)
                result[key] = self._plain(item, depth_left - 1, room)
            return result
        if kind is list or kind is tuple:
            if depth_left == 0:
                self._refuse_depth()
            return [self._plain(item, depth_left - 1, room) for item in value]
        if kind is int:
            if not _INTEGER_MIN <= value <= _INTEGER_MAX:
                _refuse_number("an integer of more than 64 bits")
            return value
        if kind is float:
            if not math.isfinite(value):
                _refuse_number(str(value))
            return value
        return self._plain(_reduced(value), depth_left, room)


_SUBCLASSES: dict[type, Callable[[Any], Any]] = {
    str: str.__str__,
    int: int.__index__,
    float: float.__float__,
    dict: lambda value: dict(dict.items(value)),
    list: lambda value: list(list.__iter__(value)),
    tuple: lambda value: list(tuple.__iter__(value)),
}


def _containers(values: Iterable[Any]) -> list[Any]:
    return [value for value in values if type(value) is list or type(value) is dict]


def _reduced(value: Any) -> Any:
    """Return something nearer to JSON than the value is.

    Subclasses are read as what they are at heart, by the base class's own methods.
    """
    if isinstance(value, Enum):
        return value.value
    for plain_type, read in _SUBCLASSES.items():
        if isinstance(value, plain_type):
            return read(value)
    if isinstance(value, datetime | date | time | UUID):
        return orjson.loads(orjson.dumps(value))
    dump = getattr(value, "model_dump", None)
    if dump is not None and not isinstance(value, type):
        return dump(mode="json")
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
    raise TypeError(f"{type(value).__name__} has no form in JSON")


def _refuse_unparsed(raw: bytes, error: orjson.JSONDecodeError) -> NoReturn:
    message = str(error)
    try:
        raw.decode()
    except UnicodeDecodeError as undecodable:
        raise PayloadRefused(
            "not_utf8", f"The payload is no UTF-8: {undecodable}. Send JSON in UTF-8."
        ) from None
    if "surrogate" in message:
        raise PayloadRefused(
            "lone_surrogate",
            f"The payload holds half of a UTF-16 pair: {message}. That is no character: remove it.",
        )
    if "infinity" in message:
        _refuse_number(message)
    if "depth limit" in message:
        raise PayloadRefused("too_deep", f"The payload is nested too deep: {message}.")
    raise PayloadRefused(
        "not_json", f"The payload is no JSON: {message}. Expected one JSON value (RFC 8259)."
    )


def _check_unchanged(raw: bytes) -> None:
    """Refuse what a parser would silently change. The bytes are JSON, and not too deep."""
    json.loads(
        raw.decode(),
        object_pairs_hook=_unique,
        parse_int=_whole if _LONG_INTEGER.search(raw) else None,
    )


def _unique(pairs: list[tuple[str, Any]]) -> None:
    if len(dict(pairs)) < len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise PayloadRefused(
                    "duplicate_key",
                    f"The payload has the key {key[:80]!r} twice in one object: expected each key "
                    "once. Readers would differ on which one counts: send one of them.",
                )
            seen.add(key)


def _whole(text: str) -> None:
    if len(text) > 20 or not _INTEGER_MIN <= int(text) <= _INTEGER_MAX:
        _refuse_number(f"the integer {text[:40]}")


def _refuse_number(what: str) -> NoReturn:
    raise PayloadRefused(
        "number_out_of_range",
        f"The payload holds a number that can't be kept as it is: {what}. Expected a finite one, "
        "and integers of at most 64 bits. Send null or a text instead.",
    )


def _refuse_key(key: object) -> NoReturn:
    raise PayloadRefused(
        "not_json",
        f"The payload has the key {_shown(key)} of type {type(key).__name__}: expected a text. "
        "Turn it into one.",
    )


def _shown(value: object) -> str:
    """Return something of the value for a message; no code of its own is run."""
    if type(value) in (bytes, int, float, bool, Decimal, timedelta):
        return reprlib.repr(value)
    if isinstance(value, str):
        return ascii(str.__str__(value)[:80])
    if isinstance(value, Exception) and all(type(part) is str for part in value.args):
        return ascii(" ".join(value.args)[:80])
    return f"<{type(value).__name__}>"


def check_identifier(name: str, value: object) -> str:
    """Return ``value`` if it can be a key everywhere.

    Args:
        name: what it is, for the message.
        value: expected: 1 to 256 printable characters, at most 512 bytes.
    Raises:
        PayloadRefused: ``bad_identifier``.
    """
    if isinstance(value, str):
        text = str.__str__(value)
        if (
            0 < len(text) <= IDENTIFIER_LENGTH_MAX
            and text.isprintable()
            and text == text.strip()
            and len(text.encode()) <= IDENTIFIER_BYTES_MAX
        ):
            return text
    raise PayloadRefused(
        "bad_identifier",
        f"The {name} is {_shown(value)}: expected 1 to {IDENTIFIER_LENGTH_MAX} printable "
        f"characters without space at the ends, of at most {IDENTIFIER_BYTES_MAX} bytes in UTF-8. "
        "Choose another.",
    )


def check_time(value: object) -> datetime:
    """Return the time in UTC, if it is one that every reader can keep.

    Raises:
        PayloadRefused: ``bad_time``.
    """
    with suppress(Exception):  # a time zone is the caller's code, and may raise whatever it likes
        if isinstance(value, datetime):
            return in_utc(value)
    raise PayloadRefused(
        "bad_time",
        f"The time is {_shown(value)}: expected a datetime with an offset from UTC, of the "
        "years 1000 to 8999. Send another, or none.",
    )


def kept(raw: bytes, refusal: PayloadRefused) -> Unreadable:
    """Return what is kept of a payload that did not pass."""
    return Unreadable(
        reason=refusal.reason,
        detail=refusal.message,
        size_bytes=len(raw),
        sha256=hashlib.sha256(raw).hexdigest(),
        raw_base64=base64.b64encode(raw[:KEPT_BYTES]).decode(),
    )


def sketched(payload: object) -> bytes:
    """Return a refused object as text, something like JSON, as far as it can be told.

    Bounded by ``SKETCH_BYTES_MAX``: what refers to itself again and again has no end.
    """
    parts: list[bytes] = []
    size_bytes = 0
    try:
        # Written piece by piece, so that it can be left at any point.
        for part in json.JSONEncoder(skipkeys=True, default=_sketched).iterencode(payload):
            parts.append(part.encode("utf-8", "surrogatepass"))
            size_bytes += len(parts[-1])
            if size_bytes >= SKETCH_BYTES_MAX:
                break
    except Exception as error:
        parts.append(f" … {type(error).__name__}".encode())
    return b"".join(parts)[:SKETCH_BYTES_MAX]


def _sketched(value: object) -> Any:
    try:
        return _reduced(value)
    except TypeError:
        return _shown(value)
