"""Waiting for an event, but not for ever."""

from __future__ import annotations

import asyncio
from contextlib import suppress

__all__ = ["wait_at_most"]


async def wait_at_most(seconds: float, event: asyncio.Event) -> None:
    """Return when the event is set, or after that time.

    Not ``asyncio.wait_for``: in Python 3.11 it swallows a cancellation that comes together with
    the event, and the task that was cancelled lives on.
    """
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
