"""Durations as people write them: ``"10s"``, ``"2d"``, ``"1h30m"``, or a ``timedelta``."""

from __future__ import annotations

import re
from datetime import timedelta

from meshline.workflow.errors import refuse

__all__ = ["Duration", "duration_text", "seconds_of"]

Duration = str | timedelta

_UNITS_S = {"w": 604_800.0, "d": 86_400.0, "h": 3_600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|w|d|h|m|s)")
_WHOLE = re.compile(rf"(?:{_PART.pattern})+")

_SECONDS_MAX = 100 * 366 * 86_400.0
"""A hundred years: later moments are mistakes, and soon no ``datetime`` can hold them."""


def seconds_of(value: Duration, what: str, *, zero_allowed: bool = False) -> float:
    """Return the duration in seconds.

    Args:
        what: what the duration is for, as the refusal names it: ``"timeout of step 'enrich'"``.
    """
    seconds = _read(value)
    if seconds is None or seconds < 0 or seconds > _SECONDS_MAX or not (seconds or zero_allowed):
        raise refuse(
            "duration",
            f"The {what} is {value!r}",
            expected="a positive duration of at most a hundred years",
            do='Write a number and its unit (ms, s, m, h, d, w), as in "10s", "1h30m" or "2d", '
            "or a timedelta.",
        )
    return seconds


def _read(value: object) -> float | None:
    if isinstance(value, timedelta):
        return value.total_seconds()
    if not isinstance(value, str):
        return None
    text = value.replace(" ", "")
    if not _WHOLE.fullmatch(text):
        return None
    parts = [(float(number), unit) for number, unit in _PART.findall(text)]
    if len({unit for _, unit in parts}) < len(parts):
        return None
    # Rounded to what the log's times can hold, so that "0.1s" and "100ms" are one number.
    return round(sum(number * _UNITS_S[unit] for number, unit in parts), 6)


def duration_text(seconds: float) -> str:
    """Return the exact writing, without weeks: 5400.0 is ``1h30m``; ``seconds_of`` reads it."""
    milliseconds, text = round(seconds * 1000, 3), ""
    for unit in ("d", "h", "m", "s"):
        count, milliseconds = divmod(milliseconds, _UNITS_S[unit] * 1000)
        text += f"{count:.0f}{unit}" if count else ""
    if milliseconds:
        text += f"{milliseconds:.3f}".rstrip("0").rstrip(".") + "ms"
    return text or "0s"
