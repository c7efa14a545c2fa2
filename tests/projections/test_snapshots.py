"""The past folded from what was kept is the past folded from the first record."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshline.events.codec import decode
from meshline.events.envelope import Event, Recorded
from meshline.events.facts import Fact
from meshline.events.log import LogRecord
from meshline.events.log.memory import MemoryLog
from meshline.projections.as_of import fold_as_of
from meshline.projections.as_of_queries import ABOUT_RUNS
from meshline.projections.from_scratch import compare_views
from meshline.projections.history_view import projection as history_projection
from meshline.projections.memory_store import MemoryStore
from meshline.projections.moment import Moment
from meshline.projections.projection import Projection, by_run
from meshline.projections.runs_view import projection as runs_projection
from meshline.projections.snapshots import (
    Base,
    Snapshot,
    Span,
    can_be_kept,
    common_bases,
    segments_of,
    superfluous,
)
from meshline.projections.store import Checkpoint, Segment
from tests.projections.kept_views import KeptInMemory
from tests.projections.streams import Stream, fill, new_log

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)
LATER = NOON + timedelta(hours=1)
MOMENTS = 12
KINDS: list[Literal["event", "recorded"]] = ["event", "recorded"]


class Seen(NamedTuple):
    run_id: str
    last: str
    events: int


fragile = Projection("fragile", version=1)
seen = fragile.table(
    # What is said of no run stands in every partition, and these have no order.
    "seen",
    Seen,
    key=["run_id"],
    keys=lambda event: by_run(event) if event.event.subject else (),
)


@seen.on(Fact)
def _seen(row: Seen | None, event: Recorded[Any]) -> Seen:
    """Not of each run the same events in another order; and now and then it fails."""
    if event.position.offset % 97 == 13:
        raise ValueError("cannot")
    events = 1 if row is None else row.events + 1
    return Seen(event.event.subject, event.event.id, events)


class Disorder(Stream):
    """Late events, and writers whose clocks go back."""

    def event(
        self, subject: str, data: Any, time: datetime | None = None, **more: Any
    ) -> Event[Any]:
        event = super().event(subject, data, time, **more)
        told = event.recorded_at
        if self.random.random() < 0.05:
            told -= timedelta(seconds=self.random.randrange(8))
        happened = event.time
        if self.random.random() < 0.1:
            happened -= timedelta(seconds=self.random.randrange(1_000))
        return event._replace(time=happened, recorded_at=told)


async def disorder(seed: int, runs: int = 40, partitions: int = 3) -> MemoryLog:
    stream = Disorder(seed, partitions)
    stream.register()
    stream.tell(runs)
    for entry in range(0, len(stream.entries), 150):
        number, _ = stream.entries[entry]
        stream.entries.insert(entry, (number, stream.entries[entry][1]._replace(value=b"no event")))
    log = await new_log(partitions)
    await fill(log, stream.entries)
    return log


async def records_of(log: MemoryLog) -> list[LogRecord]:
    found = []
    for partition, end in (await log.ends()).items():
        reader = log.reader({partition: 0})
        found += (await reader.fetch(end, 1.0))[partition]
        await reader.aclose()
    return found


async def moments(log: MemoryLog, drawn: random.Random, count: int) -> list[Moment]:
    """Return moments at events and between them, of all kinds."""
    records = await records_of(log)
    found: list[Moment] = []
    while len(found) < count:
        record = drawn.choice(records)
        if record.value == b"no event":
            continue
        event = decode(record.value)
        by = drawn.choice(KINDS)
        time = event.time if by == "event" else event.recorded_at
        time += timedelta(seconds=drawn.choice([0, 0, -0.5, 30]))
        offsets = {record.partition: record.offset} if drawn.random() < 0.4 else {}
        if drawn.random() < 0.3:
            found.append(Moment(offsets=offsets))
        else:
            found.append(Moment(time, by, offsets))
    return found


async def same(here: MemoryStore, there: MemoryStore, views: Any) -> None:
    assert await compare_views(here, there, views) == []
    for view in views:
        parked = {(p.position, p.entity, p.why) for p in await there.parked(view)}
        assert {(p.position, p.entity, p.why) for p in await here.parked(view)} == parked


@pytest.mark.parametrize("seed", range(8))
async def test_from_snapshots_and_spans_the_past_is_the_same_at_every_moment(seed: int) -> None:
    drawn = random.Random(seed)
    log = await disorder(seed)
    views = [*ABOUT_RUNS, fragile]
    kept = KeptInMemory(log)
    shares = sorted([0.1, *(drawn.random() for _ in range(drawn.randrange(3, 8)))])
    for view in views:
        await kept.keep(view, drawn, shares, spans=drawn.randrange(2, 12))

    for moment in await moments(log, drawn, MOMENTS):
        here = await fold_as_of(log, views, moment, kept)
        await same(here, await fold_as_of(log, views, moment), views)

    assert kept.used, "no moment was folded from a snapshot: this test shows nothing"


# -- which snapshots serve ---------------------------------------------------------------------


def snapshot(number: int, *offsets: int, told: datetime = NOON) -> Snapshot:
    return Snapshot(number, {p: Checkpoint(o) for p, o in enumerate(offsets)}, NOON, told)


def test_a_snapshot_serves_a_moment_that_admits_all_that_is_in_it() -> None:
    early, late = snapshot(1, 10, 10), snapshot(2, 20, 20, told=LATER)
    kept = {runs_projection: [early, late]}
    ends = {0: 30, 1: 30}

    def base(moment: Moment, ends: dict[int, int] = ends) -> Snapshot | None:
        return common_bases(kept, moment, ends).get(runs_projection)

    assert base(Moment(NOON, "recorded")) == early
    assert base(Moment(LATER, "recorded")) == late
    assert base(Moment(NOON, "event")) == late
    assert base(Moment(NOON - timedelta(seconds=1), "event")) is None
    assert base(Moment(), {0: 30, 1: 19}) == early
    assert base(Moment(), {0: 20, 1: 20}) == late


def test_no_view_begins_behind_what_the_others_vouch_for() -> None:
    some, more = ABOUT_RUNS[:2]
    kept = {some: [snapshot(1, 10), snapshot(2, 30)], more: [snapshot(1, 5), snapshot(2, 20)]}

    found = common_bases(kept, Moment(NOON), {0: 40})

    assert found == {some: kept[some][0], more: kept[more][1]}
    assert common_bases({some: kept[some], more: []}, Moment(NOON), {0: 40}) == {}


def test_what_lies_after_the_moment_is_not_read() -> None:
    at = [Checkpoint(offset, 1, offset) for offset in (10, 20, 30, 40)]
    times = [NOON, LATER, NOON, None]
    spans = {0: [Span(end, time, time) for end, time in zip(at, times, strict=True)]}
    begun = Base(Snapshot(1, {0: Checkpoint(5)}, None, None), {}, spans)

    rest = Segment(at[3], 50)
    by_event = segments_of([begun], Moment(NOON), 0, 50)
    assert by_event == [Segment(Checkpoint(5), 10), Segment(at[1], 30), rest]
    assert segments_of([begun], Moment(NOON), 0, 40) == by_event[:2]
    # By recorded time what lies between ends runs, and so is read.
    assert segments_of([begun], Moment(NOON, "recorded"), 0, 40) == [Segment(Checkpoint(5), 30)]
    assert segments_of([begun], Moment(), 0, 50) == [Segment(Checkpoint(5), 50)]
    assert segments_of([begun, Base()], Moment(NOON), 0, 40) == [Segment(Checkpoint(), 40)]


def test_a_view_whose_rows_are_only_added_is_not_kept() -> None:
    assert can_be_kept(runs_projection)
    assert not can_be_kept(history_projection)


# -- which of them stay ------------------------------------------------------------------------


@given(
    st.lists(st.tuples(st.integers(1, 10**6), st.integers(1, 100)), min_size=1, max_size=40),
    st.integers(1, 12),
    st.integers(1, 1_000),
)
def test_what_stays_keeps_to_both_limits_and_the_newest_stays(
    kept: list[tuple[int, int]], count_max: int, bytes_max: int
) -> None:
    places, sizes = [p for p, _ in sorted(kept)], [s for _, s in sorted(kept)]

    gone = superfluous(places, sizes, count_max=count_max, bytes_max=bytes_max)

    left = [index for index in range(len(kept)) if index not in gone]
    assert left[-1] == len(kept) - 1
    assert len(left) <= count_max
    assert len(left) == 1 or sum(sizes[index] for index in left) <= bytes_max


def test_those_that_stay_lie_the_denser_the_nearer_to_the_end() -> None:
    places: list[int] = []
    for place in range(1, 2_001):
        places.append(place)
        for index in superfluous(places, [1] * len(places), count_max=16, bytes_max=10**9):
            del places[index]

    gaps = [b - a for a, b in zip([0, *places], places, strict=False)]
    assert len(places) == 16
    assert max(gaps[-4:]) < 60 < 100 < max(gaps[:4])
