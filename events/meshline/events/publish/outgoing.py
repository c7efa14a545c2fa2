"""A request on its way to the log."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from meshline.events.envelope import Event, Position, Recorded
from meshline.events.log import Entry

__all__ = ["Outgoing"]


@dataclass(eq=False, slots=True)
class Outgoing:
    """One request on its way, and who waits for it.

    ``appended`` gives its position. ``decided`` gives the fact that answers it, or None where the
    publisher is closed before one comes; ``answers`` tells such a fact from others with the same
    cause. ``appended_at_s`` is the event loop's time at which the log had it.
    """

    partition: int
    event_id: str
    entry: Entry
    deadline_s: float
    appended: asyncio.Future[Position]
    answers: Callable[[Event[Any]], bool]
    decided: asyncio.Future[Recorded[Any] | None] | None = None
    appended_at_s: float = 0.0
    causes: list[bytes] = field(default_factory=list)

    @property
    def size_bytes(self) -> int:
        return len(self.entry.value)

    @property
    def awaits_decision(self) -> bool:
        return (
            self.decided is not None and not self.decided.done() and not self.appended.cancelled()
        )
