"""The gate: the one check that every payload passes on its way in.

What passes can be kept by every log and stored by every view: PostgreSQL's ``jsonb`` refuses some
of what Kafka and JSON parsers take, and one such payload must never stop a view.
"""

from __future__ import annotations

import base64
import hashlib
import math
from dataclasses import dataclass
from typing import Any

import orjson

from meshline.events.errors import PayloadRefused
from meshline.events.requests import Unreadable

__all__ = [
    "IDENTIFIER_LENGTH_MAX",
    "KEPT_BYTES",
    "Gate",
    "check_identifier",
    "kept",
]

KEPT_BYTES = 16 * 1024
"""How much of a refused payload is kept for a person to look at."""

IDENTIFIER_LENGTH_MAX = 256
"""Characters in a source, trigger id, owner or the like: they are keys in views, and keys are short."""


@dataclass(frozen=True, slots=True)
class Gate:
    """The limits.

    Args:
        payload_bytes_max: size of one payload as JSON, in bytes; 64 KiB by default.
        depth_max: how deep arrays and objects may be nested.
    """

    payload_bytes_max: int = 64 * 1024
    depth_max: int = 64

    def parse(self, raw: bytes) -> Any:
        """Return the JSON value that the bytes hold.

        Raises:
            PayloadRefused: ``too_large``, ``not_utf8``, ``not_json``, ``too_deep``,
                ``nul_character``, ``lone_surrogate`` or ``number_out_of_range``.
        """
        self._check_size(len(raw))
        try:
            raw.decode()
        except UnicodeDecodeError as error:
            raise PayloadRefused(
                "not_utf8", f"The payload is no UTF-8: {error}. Send JSON in UTF-8."
            ) from None
        # Bounded before it is parsed: a parser's own limit on depth is not ours.
        opened = raw.count(b"[") + raw.count(b"{")
        try:
            payload = orjson.loads(raw)
        except orjson.JSONDecodeError as error:
            reason = "lone_surrogate" if "surrogate" in str(error) else "not_json"
            raise PayloadRefused(
                reason, f"The payload is no JSON: {error}. Expected one JSON value (RFC 8259)."
            ) from None
        if opened > self.depth_max or b"\\u" in raw or b"e" in raw or b"E" in raw or len(raw) > 1024:
            self._walk(payload)
        return payload

    def check(self, payload: Any) -> Any:
        """Return the value as plain JSON types; models and dates become what JSON has for them.

        Raises:
            PayloadRefused: as ``parse``, and ``not_json`` for values that JSON has no word for.
        """
        self._walk(payload)
        try:
            raw = orjson.dumps(payload, default=_to_json)
        except (TypeError, ValueError, RecursionError) as error:
            reason = "lone_surrogate" if "surrogates" in str(error) else "not_json"
            raise PayloadRefused(
                reason, f"The payload can't be written as JSON: {error}. Send plain JSON values."
            ) from None
        self._check_size(len(raw))
        result = orjson.loads(raw)
        self._walk(result)
        return result

    def _check_size(self, size_bytes: int) -> None:
        if size_bytes > self.payload_bytes_max:
            raise PayloadRefused(
                "too_large",
                f"The payload has {size_bytes} bytes: expected at most {self.payload_bytes_max}. "
                "Keep large content elsewhere and send its address.",
            )

    def _walk(self, payload: Any) -> None:
        level = [payload]
        for _ in range(self.depth_max + 1):
            below: list[Any] = []
            for value in level:
                if isinstance(value, str):
                    _check_text(value)
                elif isinstance(value, float):
                    if not math.isfinite(value):
                        raise PayloadRefused(
                            "number_out_of_range",
                            f"The payload holds the number {value}: expected a finite one. "
                            "Send null or a text instead.",
                        )
                elif isinstance(value, dict):
                    for key in value:
                        if isinstance(key, str):
                            _check_text(key)
                    below.extend(value.values())
                elif isinstance(value, list | tuple):
                    below.extend(value)
            if not below:
                return
            level = below
        raise PayloadRefused(
            "too_deep",
            f"The payload is nested deeper than {self.depth_max} levels. Send a flatter one.",
        )


def _check_text(text: str) -> None:
    if "\x00" in text:
        raise PayloadRefused(
            "nul_character",
            "The payload holds the character U+0000, which PostgreSQL can't store. Remove it.",
        )
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise PayloadRefused(
                "lone_surrogate",
                "The payload holds half of a UTF-16 pair, which is no character. Remove it.",
            ) from None


def _to_json(value: Any) -> Any:
    dump = getattr(value, "model_dump", None)
    if dump is None:
        raise TypeError(f"{type(value).__name__} has no form in JSON")
    return dump(mode="json")


def check_identifier(name: str, value: object) -> str:
    """Return ``value`` if it can be a key everywhere.

    Args:
        name: what it is, for the message.
        value: expected: 1 to 256 printable characters.
    Raises:
        PayloadRefused: ``bad_identifier``.
    """
    if (
        isinstance(value, str)
        and 0 < len(value) <= IDENTIFIER_LENGTH_MAX
        and value.isprintable()
        and value == value.strip()
    ):
        return value
    raise PayloadRefused(
        "bad_identifier",
        f"The {name} is {str(value)[:80]!r}: expected 1 to {IDENTIFIER_LENGTH_MAX} printable "
        "characters without space at the ends. Choose another.",
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
