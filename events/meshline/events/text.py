"""Text that every log and every view can keep.

PostgreSQL stores no U+0000, and UTF-8 has no form for half of a UTF-16 pair. Both come in from the
world: in payloads, in file names, in the messages of other people's errors.
"""

from __future__ import annotations

import re

__all__ = ["UNSEEN", "cleaned", "holds_nul", "visible"]

_ESCAPED_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")


# Marks that turn text around or hide in it, and control characters but tab and line feed.
UNSEEN = re.compile(
    "[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]"
)


def visible(text: str) -> str:
    """Return the text with what would not be seen shown by its number."""
    return UNSEEN.sub(lambda match: f"⟨U+{ord(match[0]):04X}⟩", text)


def cleaned(text: str, characters_max: int) -> str:
    """Return the text with U+FFFD for what can't be kept, cut to ``characters_max``.

    For messages and the like, which must never be a reason to refuse; payloads pass the gate.
    """
    if len(text) > characters_max:
        text = text[: characters_max - 1] + "…"
    if "\x00" in text:
        text = text.replace("\x00", "\ufffd")
    if not text.isascii():
        text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def holds_nul(json: bytes) -> bool:
    """Return whether a text in this JSON holds U+0000; an escaped backslash before is only text."""
    return b"\\u0000" in json and _ESCAPED_NUL.search(json) is not None
