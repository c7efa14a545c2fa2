"""How far the views are behind the log, and waiting until they are not."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import NamedTuple, Protocol

from meshline.events.clock import Clock, SystemClock
from meshline.events.envelope import Position
from meshline.events.log import EventLog
from meshline.projections.errors import NotReached
from meshline.projections.store import ViewStatus

__all__ = ["ViewLag", "lag_of", "reached"]

_POLL_S_MIN, _POLL_S_MAX = 0.005, 0.1
_PEEK_S = 1.0


class ViewLag(NamedTuple):
    """``events`` not yet in the view; ``seconds`` since the log took the oldest of them."""

    name: str
    version: int
    state: str
    events: int
    seconds: float
    by_partition: dict[int, int]
    build: int = 1


class _Checkpoints(Protocol):
    async def live_checkpoints(self, names: Iterable[str]) -> dict[str, dict[int, int]]: ...


class _Status(Protocol):
    async def status(self) -> list[ViewStatus]: ...


async def lag_of(log: EventLog, store: _Status, clock: Clock | None = None) -> list[ViewLag]:
    """Return for each view how far it is behind the log's present end."""
    statuses = [status for status in await store.status() if status.state != "retired"]
    ends = await log.ends()
    now_ms = (clock or SystemClock()).now().timestamp() * 1000
    lags = []
    for status in statuses:
        behind = {
            p: max(0, ends.get(p, 0) - checkpoint.offset)
            for p, checkpoint in status.checkpoints.items()
        }
        late = {p: status.checkpoints[p].offset for p, events in behind.items() if events}
        oldest_ms = await _oldest_ms(log, late)
        lags.append(
            ViewLag(
                name=status.name,
                version=status.version,
                state=status.state,
                events=sum(behind.values()),
                seconds=0.0 if oldest_ms is None else max(0.0, (now_ms - oldest_ms) / 1000),
                by_partition=behind,
                build=status.build,
            )
        )
    return lags


async def _oldest_ms(log: EventLog, positions: Mapping[int, int]) -> int | None:
    """Return when the log took the oldest of the records at these positions."""
    taken = []
    for partition, offset in positions.items():
        reader = log.reader({partition: offset})
        try:
            fetched = await reader.fetch(1, _PEEK_S)
        finally:
            await reader.aclose()
        taken += [records[0].appended_ms for records in fetched.values()]
    return min(taken, default=None)


async def reached(
    store: _Checkpoints,
    positions: Iterable[Position],
    names: Iterable[str] = ("runs",),
    *,
    timeout_s: float,
) -> None:
    """Return when the live versions of the views hold these positions: read your own writes.

    Raises:
        NotReached: not within ``timeout_s``.
    """
    wanted: dict[int, int] = {}
    for partition, offset in positions:
        wanted[partition] = max(offset + 1, wanted.get(partition, 0))
    names = tuple(names)
    clock = asyncio.get_running_loop().time
    deadline, poll_s = clock() + timeout_s, _POLL_S_MIN
    while True:
        live = await store.live_checkpoints(names)
        behind = [
            f"{name} at {partition}:{live.get(name, {}).get(partition, 0)}"
            for name in names
            for partition, offset in wanted.items()
            if live.get(name, {}).get(partition, 0) < offset
        ]
        if not behind:
            return
        if clock() >= deadline:
            raise NotReached(
                f"The views did not reach {wanted} within {timeout_s} s: {', '.join(behind)}. "
                "Expected a projector that keeps up: see `meshline view list`, then try again."
            )
        await asyncio.sleep(min(poll_s, max(0.0, deadline - clock())))
        poll_s = min(poll_s * 1.5, _POLL_S_MAX)
