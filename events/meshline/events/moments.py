"""Which times can be kept: those that stay times whatever zone or due time is added to them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from pydantic import AfterValidator, AwareDatetime

__all__ = ["TIME_MAX", "TIME_MIN", "Moment", "in_utc"]

TIME_MIN = datetime(1000, 1, 1, tzinfo=UTC)
TIME_MAX = datetime(9000, 1, 1, tzinfo=UTC)


def in_utc(time: datetime) -> datetime:
    """Return the same moment in UTC.

    Raises:
        ValueError: no offset from UTC is given, or the moment is before ``TIME_MIN`` or not before
            ``TIME_MAX``. A program's own "no time", such as the year 1, is one of these.
    """
    if time.tzinfo is None:
        raise ValueError(f"{time} has no offset from UTC")
    # Compared as it stands: to bring a time of the year 1 to UTC first may be more than it takes.
    if not TIME_MIN <= time < TIME_MAX:
        raise ValueError(f"{time} is out of range: expected the years 1000 to 8999")
    return time if time.tzinfo is UTC else time.astimezone(UTC)


Moment = Annotated[AwareDatetime, AfterValidator(in_utc)]
"""A time in a request: always in UTC, and in range."""
