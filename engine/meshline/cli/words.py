"""Moments, ages and names as people read them."""

from __future__ import annotations

import os
import sys
from datetime import datetime, timedelta
from pathlib import Path

__all__ = ["age", "ago", "clock_time", "due", "prompt_name", "short"]

_UNITS = (("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1))


def age(duration: timedelta) -> str:
    """Return the two largest units: ``3d4h``, ``12m5s``, ``0.4s``."""
    seconds = abs(duration.total_seconds())
    if seconds < 10:
        return f"{seconds:.1f}s"
    parts: list[str] = []
    left = int(seconds)
    for unit, length_s in _UNITS:
        count, left = divmod(left, length_s)
        if count or parts:
            parts.append(f"{count}{unit}" if count else "")
        if len(parts) == 2:
            break
    return "".join(parts)


def ago(moment: datetime | None, now: datetime) -> str:
    """Return how long since the moment; with a minus where it is still to come."""
    if moment is None:
        return ""
    return ("-" if moment > now else "") + age(now - moment)


def due(moment: datetime | None, now: datetime) -> str:
    """Return when something is due: ``in 3h20m``, or ``2d late``."""
    if moment is None:
        return ""
    return f"in {age(moment - now)}" if moment > now else f"{age(now - moment)} late"


def clock_time(moment: datetime | None) -> str:
    """Return the moment in UTC, to the second."""
    return "" if moment is None else f"{moment:%Y-%m-%d %H:%M:%SZ}"


def short(run_id: str) -> str:
    """Return as much of a run id as a person types; any unique beginning will do."""
    return run_id[:8]


def prompt_name() -> str:
    """Return how the person who typed this command types the next one."""
    typed = Path(sys.argv[0])
    on_path = any((Path(f) / "meshline").exists() for f in os.environ.get("PATH", "").split(":"))
    if on_path or typed.name != "meshline":
        return "meshline"
    try:
        return str(typed.absolute().relative_to(Path.cwd()))
    except ValueError:
        return str(typed)
