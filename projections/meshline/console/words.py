"""Moments, ages, names and values as people read them on a page."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import orjson

from meshline.events.errors import SettingsInvalid
from meshline.events.moments import in_utc
from meshline.events.text import UNSEEN, visible

__all__ = [
    "age",
    "ago",
    "due",
    "exact",
    "json_text",
    "moment_of",
    "number",
    "pretty",
    "said_of",
    "shortened",
    "visible",
]

_LONG_PAST = timedelta(days=30)
_UNITS = (("y", 31_536_000), ("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1))


def shortened(text: str, length_max: int = 120) -> str:
    """Return the text on one line, cut where it is longer."""
    line = " ".join(text[: length_max * 4].split())
    is_whole = len(line) <= length_max and len(text) <= length_max * 4
    return line if is_whole else f"{line[: length_max - 1]}…"


def pretty(value: Any, length_max: int = 20_000) -> str:
    """Return a value as indented JSON, cut where it is longer."""
    text = orjson.dumps(value, option=orjson.OPT_INDENT_2, default=str).decode()
    left = len(text) - length_max
    return text if left <= 0 else f"{text[:length_max]}\n… and {left:,} more characters"


def json_text(value: Any) -> str:
    """Return a value as JSON on one line."""
    return orjson.dumps(value, default=str).decode()


def exact(value: Any) -> str:
    """Return a value as indented JSON to be edited: all of it, what would not be seen escaped."""
    text = orjson.dumps(value, option=orjson.OPT_INDENT_2).decode()
    return UNSEEN.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def said_of(event_type: str) -> str:
    """Return a type of event in words: ``run cancelled``."""
    return event_type.removeprefix("meshline.").rpartition(".v")[0].replace(".", " ")


def age(duration: timedelta, parts_max: int = 2) -> str:
    """Return the largest units: ``3 d 4 h``, ``12 m 5 s``."""
    left = int(abs(duration.total_seconds()))
    if left < 1:
        return "0 s"
    parts: list[str] = []
    for unit, length_s in _UNITS:
        count, left = divmod(left, length_s)
        if count or parts:
            parts.append(f"{count}\u00a0{unit}" if count else "")
        if len(parts) == parts_max:
            break
    return " ".join(filter(None, parts))


def ago(moment: datetime, now: datetime) -> str:
    """Return how long since the moment, in one unit within an hour; the day if it is long past."""
    if moment > now + timedelta(seconds=1):
        return f"in {age(moment - now)}"
    since = now - moment
    if since > _LONG_PAST:
        return f"{moment:%Y-%m-%d}"
    return f"{age(since, 1 if since < timedelta(hours=1) else 2)} ago"


def due(moment: datetime, now: datetime) -> str:
    """Return when something is due: ``in 3 h 20 m``, or ``2 d late``."""
    return f"in {age(moment - now)}" if moment > now else f"{age(now - moment)} late"


def number(value: float) -> str:
    return f"{value:,}".replace(",", "\u202f")


def moment_of(text: str | None) -> datetime | None:
    """Return the moment that was typed into a date field; UTC where no zone is given.

    Raises:
        SettingsInvalid: it is none.
    """
    if not (text or "").strip():
        return None
    try:
        moment = datetime.fromisoformat((text or "").strip())
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return in_utc(moment)
    except (ValueError, OverflowError):
        raise SettingsInvalid(
            f"{(text or '')[:60]!r} is no moment: expected one such as 2026-11-17T14:05 (UTC)."
        ) from None
