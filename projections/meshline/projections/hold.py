"""Standing still: the writers of two builds stop at the same positions, so that these compare.

Writers in two processes commit what each has read, and under load are level only by chance. So a
comparison writes into both builds' checkpoints how far they may go, and until when that holds. A
writer whose batch leads further is refused it, brings its view just so far, and waits. A hold ends
by itself: whoever made it need not be there any more.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from meshline.events.log import EventLog
from meshline.projections.intake import Intake, Item
from meshline.projections.postgres_connection import Session
from meshline.projections.postgres_schema import Books
from meshline.projections.store import Checkpoint
from meshline.projections.view import Batch

__all__ = ["HELD_LOOK_S", "HOLD_S", "batch_up_to", "hold_level", "let_go"]

HOLD_S = 2.0
"""A live view is never behind by more for being compared."""

HELD_LOOK_S = 0.02

APART_MAX = 20_000
"""Events; of two that are further apart the one ahead would wait too long for the other."""

LOCK_TIMEOUT_MS = 500
"""Less than what PostgreSQL waits before it looks for a deadlock, which might end the writer."""

Key = tuple[str, int, int]
"""Name, version and build."""


async def hold_level(session: Session, books: Books, one: Key, other: Key) -> bool:
    """Let neither build go further than the one ahead is now; return False if it makes no sense.

    In a transaction of its own.
    """
    await session.execute(f"set local lock_timeout = {LOCK_TIMEOUT_MS}")
    offsets = [
        {record[0]: record[1] for record in await session.fetch(books.lock_checkpoints, *key)}
        for key in (one, other)
    ]
    level = {p: max(offset, offsets[1].get(p, 0)) for p, offset in offsets[0].items()}
    apart = sum(abs(offset - offsets[1].get(p, 0)) for p, offset in offsets[0].items())
    if apart > APART_MAX:
        return False
    for key in (one, other):
        await session.execute(books.hold, *key, [*level], [*level.values()], HOLD_S)
    return True


async def let_go(session: Session, books: Books, keys: Iterable[Key]) -> None:
    """Let them go on at once."""
    for key in keys:
        await session.execute(books.let_go, *key)


async def batch_up_to(
    log: EventLog,
    checkpoints: Mapping[int, Checkpoint],
    until: Mapping[int, int],
    wanted: Iterable[type[Any]],
) -> Batch | None:
    """Read once more what lies between a view's checkpoints and these offsets; None: nothing."""
    start = {p: checkpoints[p] for p, offset in until.items() if checkpoints[p].offset < offset}
    if not start:
        return None
    intake = Intake(start, wanted)
    items: list[Item] = []
    ends: dict[int, Checkpoint] = {}
    reader = log.reader({p: checkpoint.offset for p, checkpoint in start.items()})
    try:
        while any(p not in ends or ends[p].offset < until[p] for p in start):
            for partition, records in (await reader.fetch(1_000, 1.0)).items():
                some = [record for record in records if record.offset < until[partition]]
                if some:
                    items += intake.take(some)
                    ends[partition] = intake.checkpoint(some[-1])
    finally:
        await reader.aclose()
    return Batch(items, {p: checkpoint.offset for p, checkpoint in start.items()}, ends)
