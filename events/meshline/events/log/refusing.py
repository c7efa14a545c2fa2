"""What a log refuses before it tries: it would be refused for good further on, or do harm there."""

from __future__ import annotations

from collections.abc import Sequence

from meshline.events.log.protocol import Entry, Refused
from meshline.events.log.settings import LogSettings

__all__ = ["refusal_of"]


def refusal_of(entries: Sequence[Entry], settings: LogSettings) -> Refused | None:
    """Return why the entries can't be appended; None if they can.

    Every log refuses the same, so that a history can be copied from any to any other.
    """
    for key, value in entries:
        if len(value) > settings.record_bytes_max:
            return Refused(
                f"A record has {len(value)} bytes: expected at most {settings.record_bytes_max}. "
                "Keep large content elsewhere."
            )
        if "\x00" in key or not _is_unicode(key):
            return Refused(
                f"A record's key is {key[:80]!r}: expected text without U+0000 and without halves "
                "of characters, which PostgreSQL can't store. Choose another key."
            )
    return None


def _is_unicode(text: str) -> bool:
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
