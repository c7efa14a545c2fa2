from __future__ import annotations

from datetime import timedelta

import pytest

from meshline.events.clock import ManualClock
from meshline.events.envelope import Position
from meshline.events.log import Entry
from meshline.events.log.memory import MemoryLog
from meshline.projections.errors import NotReached
from meshline.projections.lag import lag_of, reached
from meshline.projections.memory_store import MemoryStore
from meshline.projections.runs_view import projection as runs


async def test_lag_is_counted_from_the_oldest_event_that_is_missing() -> None:
    clock = ManualClock()
    log, store = MemoryLog(clock=clock), MemoryStore()
    await log.open(create_partitions=2)
    await store.install(runs, log.identity)
    await log.append(0, [Entry("k", b"x")])
    clock.set(clock.now() + timedelta(seconds=90))
    await log.append(1, [Entry("k", b"x")])

    (lag,) = await lag_of(log, store, clock)

    assert (lag.name, lag.events, lag.seconds) == ("runs", 4, 90.0)
    assert lag.by_partition == {0: 2, 1: 2}


async def test_a_position_that_is_not_reached_in_time_says_how_far_the_views_are() -> None:
    log, store = MemoryLog(), MemoryStore()
    await log.open(create_partitions=1)
    await store.install(runs, log.identity)

    with pytest.raises(NotReached, match="runs at 0:0"):
        await reached(store, [Position(0, 5)], ["runs"], timeout_s=0.02)
    await reached(store, [], ["runs"], timeout_s=0.0)
