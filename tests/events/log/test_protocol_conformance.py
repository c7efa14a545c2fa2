"""What every log does, asked of each of them: only the address differs.

What can't be asked of all (a server that is killed, a topic that is made again) is in
tests/integration/.
"""

from __future__ import annotations

import asyncio
import sys
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from meshline.events.codec import decode
from meshline.events.errors import LogLayoutMismatch, LogNotFound, PositionLost
from meshline.events.facts import LogCreated
from meshline.events.log import (
    Accepted,
    Entry,
    EventLog,
    LogReader,
    LogRecord,
    LogSettings,
    Refused,
    open_log,
)

PATIENCE_S = 90.0
OpenLog = Callable[..., Awaitable[EventLog]]


@pytest.fixture
def memory_address() -> str:
    return f"memory://{uuid.uuid4()}"


@pytest.fixture(
    params=[
        "memory",
        pytest.param("postgres", marks=pytest.mark.postgres),
        pytest.param("kafka", marks=pytest.mark.kafka),
    ]
)
def address(request: pytest.FixtureRequest) -> str:
    """The address of a log that is not there yet."""
    address: str = request.getfixturevalue(f"{request.param}_address")
    return address


@pytest.fixture
async def opened(address: str) -> AsyncIterator[OpenLog]:
    """Open the test's log, another object each time; all are closed in the end."""
    logs: list[EventLog] = []

    async def open_one(
        partitions: int | None = None, settings: LogSettings | None = None
    ) -> EventLog:
        log = open_log(address, settings)
        await log.open(create_partitions=partitions)
        logs.append(log)
        return log

    yield open_one
    for log in logs:
        await log.aclose()


def entries(*values: str, key: str = "run") -> list[Entry]:
    return [Entry(key, value.encode()) for value in values]


def values(records: list[LogRecord]) -> list[str]:
    return [record.value.decode() for record in records]


async def accepted(log: EventLog, partition: int, *texts: str) -> Accepted:
    answer = await log.append(partition, entries(*texts))
    assert isinstance(answer, Accepted)
    return answer


async def read(reader: LogReader, count: int, records_max: int = 10_000) -> list[LogRecord]:
    """Fetch until there are so many records."""
    found: list[LogRecord] = []
    async with asyncio.timeout(PATIENCE_S):
        while len(found) < count:
            for records in (await reader.fetch(records_max, 1.0)).values():
                found += records
    return found


# --- opening -----------------------------------------------------------------------------------


async def test_a_new_log_begins_with_its_identity_in_each_partition(opened: OpenLog) -> None:
    log = await opened(3)

    records = await read(log.reader({0: 0, 1: 0, 2: 0}), 3)

    created = {record.partition: decode(record.value).data for record in records}
    assert created == {
        p: LogCreated(log_id=log.identity.log_id, partition=p, partitions=3) for p in range(3)
    }
    assert {record.offset for record in records} == {0}
    assert log.identity.partitions == 3
    assert await log.ends() == {0: 1, 1: 1, 2: 1}


async def test_a_log_is_not_made_unless_that_is_asked_for(address: str) -> None:
    log = open_log(address)

    with pytest.raises(LogNotFound, match="Create it"):
        await log.open()

    await log.aclose()


async def test_a_log_that_is_opened_again_is_the_same(opened: OpenLog) -> None:
    first = await opened(2)
    await accepted(first, 1, "a", "b")

    again, same_layout = await opened(), await opened(2)

    assert again.identity == same_layout.identity == first.identity
    assert await again.ends() == {0: 1, 1: 3}


async def test_another_number_of_partitions_is_refused(opened: OpenLog, address: str) -> None:
    await opened(2)
    log = open_log(address)

    with pytest.raises(LogLayoutMismatch, match="has 2 partitions, but 3 were asked for"):
        await log.open(create_partitions=3)

    await log.aclose()


async def test_two_that_create_at_once_get_one_log(opened: OpenLog) -> None:
    logs = await asyncio.gather(*(opened(2) for _ in range(3)))

    assert len({log.identity.log_id for log in logs}) == 1


# --- appending ---------------------------------------------------------------------------------


async def test_what_is_appended_is_read_in_order_at_the_answered_offsets(opened: OpenLog) -> None:
    log = await opened(2)

    first = await log.append(1, entries("a", "b"))
    second = await log.append(1, [Entry("", b"c"), Entry("ключ-🔑", b"\x00\xff")])
    records = await read(log.reader({1: 1}), 4)

    assert first == Accepted(1, 2, contiguous=True)
    assert second == Accepted(3, 4, contiguous=True)
    assert [record[:4] for record in records] == [
        (1, 1, "run", b"a"),
        (1, 2, "run", b"b"),
        (1, 3, "", b"c"),
        (1, 4, "ключ-🔑", b"\x00\xff"),
    ]
    assert type(records[0].value) is bytes


async def test_appends_to_several_partitions_each_have_their_answer(opened: OpenLog) -> None:
    log = await opened(3)

    answers = await log.append_by_partition({2: entries("a", "b"), 0: entries("c")})

    assert answers == {2: Accepted(1, 2, contiguous=True), 0: Accepted(1, 1, contiguous=True)}
    assert await log.ends() == {0: 2, 1: 1, 2: 3}


async def test_concurrent_appends_of_two_logs_keep_their_batches_whole(opened: OpenLog) -> None:
    logs = [await opened(2), await opened()]
    batches = [
        (log, partition, [f"{log}.{partition}.{number}.{place}" for place in range(number % 5 + 1)])
        for number in range(30)
        for partition in range(2)
        for log in range(2)
    ]

    answers = await asyncio.gather(
        *(logs[log].append(partition, entries(*texts)) for log, partition, texts in batches)
    )
    total = sum(len(texts) for _, _, texts in batches)
    records = await read(logs[0].reader({0: 1, 1: 1}), total)

    by_place = {(record.partition, record.offset): record.value.decode() for record in records}
    assert len(by_place) == total
    for partition, end in (await logs[1].ends()).items():
        assert {offset for p, offset in by_place if p == partition} == set(range(1, end))
    for (_, partition, texts), answer in zip(batches, answers, strict=True):
        assert isinstance(answer, Accepted)
        assert answer.contiguous
        offsets = range(answer.first, answer.last + 1)
        assert [by_place[partition, offset] for offset in offsets] == texts


async def test_an_oversize_record_is_refused_with_its_batch_and_nothing_else(
    opened: OpenLog,
) -> None:
    log = await opened(1, LogSettings(record_bytes_max=1_000))

    refused, other = await asyncio.gather(
        log.append(0, [Entry("run", b"small"), Entry("run", b"x" * 1_001)]),
        log.append(0, entries("other")),
    )
    after = await log.append(0, [Entry("run", b"x" * 1_000)])

    assert isinstance(refused, Refused)
    assert "1001 bytes: expected at most 1000" in refused.reason
    assert other == Accepted(1, 1, contiguous=True)
    assert after == Accepted(2, 2, contiguous=True)


@pytest.mark.parametrize("key", ["a\x00b", "\ud83d"])
async def test_a_key_that_not_every_log_can_keep_is_refused_by_all(
    opened: OpenLog, key: str
) -> None:
    log = await opened(1)

    refused = await log.append(0, [Entry(key, b"x")])

    assert isinstance(refused, Refused)
    assert await accepted(log, 0, "next") == Accepted(1, 1, contiguous=True)


async def test_large_values_come_back_as_they_were(opened: OpenLog) -> None:
    log = await opened(1)
    large = [bytes([n]) * 500_000 for n in range(20)]

    answers = await asyncio.gather(*(log.append(0, [Entry("run", value)]) for value in large))
    records = await read(log.reader({0: 1}), 20)

    assert all(isinstance(answer, Accepted) for answer in answers)
    assert sorted(record.value for record in records) == large


async def test_many_partitions_are_written_and_read_together(opened: OpenLog) -> None:
    log = await opened(40)

    answers = await log.append_by_partition({p: entries(f"{p}.a", f"{p}.b") for p in range(40)})
    records = await read(log.reader(dict.fromkeys(range(40), 1)), 80)

    assert all(answer == Accepted(1, 2, contiguous=True) for answer in answers.values())
    for partition in range(40):
        own = [record for record in records if record.partition == partition]
        assert values(own) == [f"{partition}.a", f"{partition}.b"]


async def test_an_append_that_nobody_waits_for_does_not_disturb_the_next(opened: OpenLog) -> None:
    log = await opened(1)
    given_up = asyncio.create_task(log.append(0, entries("given up")))
    await asyncio.sleep(0)

    given_up.cancel()
    answer = await accepted(log, 0, "kept")
    records = await read(log.reader({0: answer.first}), 1)

    assert values(records) == ["kept"]


# --- reading -----------------------------------------------------------------------------------


async def test_a_fetch_returns_no_more_than_asked_for_and_goes_on_there(opened: OpenLog) -> None:
    log = await opened(2)
    await log.append_by_partition({p: entries(*(f"{p}.{n}" for n in range(10))) for p in (0, 1)})
    reader = log.reader({0: 1, 1: 1})

    seen: dict[int, list[str]] = {0: [], 1: []}
    async with asyncio.timeout(PATIENCE_S):
        while sum(map(len, seen.values())) < 20:
            found = await reader.fetch(3, 1.0)
            assert sum(map(len, found.values())) <= 3
            for partition, records in found.items():
                assert records
                seen[partition] += values(records)

    assert seen == {p: [f"{p}.{n}" for n in range(10)] for p in (0, 1)}
    assert await reader.fetch(3, 0.0) == {}


async def test_a_fetch_without_news_waits_as_long_as_told(opened: OpenLog) -> None:
    log = await opened(1)
    reader = log.reader({0: 1})
    started = asyncio.get_running_loop().time()

    found = await reader.fetch(10, 0.3)

    assert found == {}
    assert 0.25 < asyncio.get_running_loop().time() - started < 5


async def test_a_waiting_fetch_returns_when_another_object_appends(opened: OpenLog) -> None:
    log, other = await opened(1), await opened()
    reader = log.reader({0: 1})
    waiting = asyncio.create_task(reader.fetch(10, PATIENCE_S))
    await asyncio.sleep(0.2)

    await accepted(other, 0, "news")
    async with asyncio.timeout(PATIENCE_S / 2):
        found = await waiting

    assert values(found[0]) == ["news"]


async def test_a_waiting_fetch_is_woken(opened: OpenLog) -> None:
    log = await opened(1)
    reader = log.reader({0: 1})
    waiting = asyncio.create_task(reader.fetch(10, PATIENCE_S))
    await asyncio.sleep(0.2)

    reader.wake()
    async with asyncio.timeout(PATIENCE_S / 2):
        found = await waiting

    assert found == {}


async def test_a_cancelled_fetch_loses_nothing(opened: OpenLog) -> None:
    log = await opened(2)
    reader = log.reader({0: 1, 1: 1})
    seen: list[tuple[int, int]] = []

    async def keep_reading() -> None:
        while True:
            for records in (await reader.fetch(7, 1.0)).values():
                seen.extend((record.partition, record.offset) for record in records)

    for round_ in range(20):
        task = asyncio.create_task(keep_reading())
        await log.append_by_partition({p: entries(*"abcdefghij") for p in (0, 1)})
        await asyncio.sleep(0.001 * (round_ % 5))
        task.cancel()
        await asyncio.wait([task])
    seen += [(r.partition, r.offset) for r in await read(reader, 400 - len(seen))]

    for partition in (0, 1):
        assert [offset for p, offset in seen if p == partition] == list(range(1, 201))


async def test_partitions_come_and_go_without_disturbing_the_others(opened: OpenLog) -> None:
    log = await opened(2)
    await log.append_by_partition({0: entries("a", "b"), 1: entries("c", "d")})
    reader = log.reader({0: 1})

    only_one = await read(reader, 2)
    reader.add(1, 2)
    added = await read(reader, 1)
    reader.remove(0)
    await log.append_by_partition({0: entries("unread"), 1: entries("e")})
    removed = await read(reader, 1)
    reader.add(0, 2)
    added_again = await read(reader, 2)

    assert values(only_one) == ["a", "b"]
    assert values(added) == ["d"]
    assert values(removed) == ["e"]
    assert values(added_again) == ["b", "unread"]


async def test_a_partition_that_is_added_while_a_fetch_waits_is_read_at_once(
    opened: OpenLog,
) -> None:
    log = await opened(2)
    await accepted(log, 1, "there")
    reader = log.reader({0: 1})
    waiting = asyncio.create_task(reader.fetch(10, PATIENCE_S))
    await asyncio.sleep(0.2)

    reader.add(1, 1)
    async with asyncio.timeout(PATIENCE_S / 2):
        found = await waiting or await reader.fetch(10, PATIENCE_S)

    assert values(found[1]) == ["there"]


async def test_what_a_reader_knows_already_is_not_returned(opened: OpenLog) -> None:
    log = await opened(1)
    reader = log.reader({0: 1})
    answer = await accepted(log, 0, "own")

    reader.advance(0, answer.last + 1)
    await accepted(log, 0, "next")
    ahead = await read(reader, 1)
    reader.advance(0, 1)
    await accepted(log, 0, "last")
    never_back = await read(reader, 1)

    assert values(ahead) == ["next"]
    assert values(never_back) == ["last"]


async def test_reading_while_others_append_sees_everything_once_in_order(opened: OpenLog) -> None:
    writer, other, log = await opened(3), await opened(), await opened()
    reader = log.reader({0: 1, 1: 1, 2: 1})

    async def write(name: str, to: EventLog) -> None:
        for number in range(39):
            await accepted(to, number % 3, *(f"{name}.{number}.{place}" for place in range(3)))

    writing = asyncio.gather(write("a", writer), write("b", other))
    records = await read(reader, 234, records_max=50)
    await writing

    for partition in range(3):
        own = [record for record in records if record.partition == partition]
        assert [record.offset for record in own] == list(range(1, 79))
        for name in ("a", "b"):
            assert [text for text in values(own) if text.startswith(name)] == [
                f"{name}.{number}.{place}"
                for number in range(partition, 39, 3)
                for place in range(3)
            ]
    assert await reader.fetch(50, 0.0) == {}


async def test_a_position_beyond_the_end_is_lost(opened: OpenLog) -> None:
    log = await opened(1)
    reader = log.reader({0: 2})

    with pytest.raises(PositionLost, match=r"Partition 0 .*ends at 1"):
        async with asyncio.timeout(PATIENCE_S):
            while True:
                await reader.fetch(10, 1.0)


async def test_two_readers_of_one_log_do_not_disturb_each_other(opened: OpenLog) -> None:
    log = await opened(1)
    one, other = log.reader({0: 1}), log.reader({0: 2})
    await accepted(log, 0, "a", "b")

    first, second = await asyncio.gather(read(one, 2), read(other, 1))
    await one.aclose()
    await accepted(log, 0, "c")
    third = await read(other, 1)

    assert (values(first), values(second), values(third)) == (["a", "b"], ["b"], ["c"])


# --- positions ---------------------------------------------------------------------------------


async def test_a_moment_has_a_position(opened: OpenLog) -> None:
    log = await opened(2)
    await accepted(log, 0, "early")
    await asyncio.sleep(0.05)
    await accepted(log, 0, "late", "latest")
    records = await read(log.reader({0: 0}), 4)
    late = log.identity.created_at.fromtimestamp(
        records[2].appended_ms / 1000, tz=log.identity.created_at.tzinfo
    )

    at_late = await log.position_at(late)
    long_ago = await log.position_at(late - timedelta(days=365))
    in_future = await log.position_at(late + timedelta(days=365))

    assert at_late == {0: 2, 1: 1}
    assert long_ago == {0: 0, 1: 0}
    assert in_future == await log.ends() == {0: 4, 1: 1}
    assert records[1].appended_ms < records[2].appended_ms == records[3].appended_ms


# --- membership --------------------------------------------------------------------------------


async def test_members_share_the_partitions_and_take_over_from_one_that_leaves(
    opened: OpenLog,
) -> None:
    log, other_log = await opened(5), await opened()
    one, other = log.membership("workers", "one"), other_log.membership("workers", "other")
    everything = frozenset(range(5))

    async with asyncio.timeout(2 * PATIENCE_S):
        await one.start()
        while one.assigned != everything:
            await one.changed(one.assigned)
        await other.start()
        while one.assigned == everything or one.assigned | other.assigned != everything:
            await asyncio.wait(
                [
                    asyncio.create_task(one.changed(one.assigned)),
                    asyncio.create_task(other.changed(other.assigned)),
                ],
                return_when=asyncio.FIRST_COMPLETED,
            )
        shared = one.assigned, other.assigned
        await one.aclose()
        while other.assigned != everything:
            await other.changed(other.assigned)
        await other.aclose()

    assert sorted(map(len, shared)) == [2, 3]
    assert not shared[0] & shared[1]


SILENT_MEMBER = """
import asyncio, sys
from meshline.events.log import LogSettings, open_log

async def main(address, timeout_s):
    log = open_log(address, LogSettings(session_timeout_s=float(timeout_s), heartbeat_s=0.5))
    await log.open()
    member = log.membership("workers", "silent")
    await member.start()
    while len(member.assigned) != 1:
        await member.changed(member.assigned)
    print("joined", flush=True)
    await asyncio.sleep(600)

asyncio.run(main(*sys.argv[1:]))
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "session_timeout_s"),
    [
        pytest.param("postgres", 1.5, marks=pytest.mark.postgres),
        # A broker takes no less than six seconds.
        pytest.param("kafka", 6.0, marks=pytest.mark.kafka),
    ],
)
async def test_a_member_that_is_killed_loses_its_partitions_after_a_while(
    request: pytest.FixtureRequest, kind: str, session_timeout_s: float
) -> None:
    address: str = request.getfixturevalue(f"{kind}_address")
    log = open_log(address, LogSettings(session_timeout_s=session_timeout_s, heartbeat_s=0.5))
    await log.open(create_partitions=2)
    member = log.membership("workers", "alive")
    await member.start()
    silent = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", SILENT_MEMBER, address, str(session_timeout_s)),
        stdout=asyncio.subprocess.PIPE,
    )
    assert silent.stdout is not None
    async with asyncio.timeout(2 * PATIENCE_S):
        assert await silent.stdout.readline() == b"joined\n"
        while len(member.assigned) != 1:
            await member.changed(member.assigned)
    killed = asyncio.get_running_loop().time()

    silent.kill()
    await silent.communicate()
    async with asyncio.timeout(2 * PATIENCE_S):
        while len(member.assigned) != 2:
            await member.changed(member.assigned)
    silent_s = asyncio.get_running_loop().time() - killed
    await member.aclose()
    await log.aclose()

    assert silent_s > session_timeout_s - 1


async def test_groups_do_not_share_with_each_other(opened: OpenLog) -> None:
    log = await opened(2)
    one, other = log.membership("one", "x"), log.membership("other", "x")

    async with asyncio.timeout(PATIENCE_S):
        for member in (one, other):
            await member.start()
            while member.assigned != {0, 1}:
                await member.changed(member.assigned)
    both = one.assigned, other.assigned
    await one.aclose()
    await other.aclose()

    assert both == (frozenset({0, 1}), frozenset({0, 1}))


# --- against a model ---------------------------------------------------------------------------

PARTITION = st.integers(0, 2)
STEP = st.one_of(
    st.tuples(st.just("append"), PARTITION, st.integers(1, 5)),
    st.tuples(st.just("fetch"), st.integers(1, 7), st.just(0)),
    st.tuples(st.just("advance"), PARTITION, st.integers(0, 3)),
    st.tuples(st.just("add"), PARTITION, st.integers(0, 4)),
    st.tuples(st.just("remove"), PARTITION, st.just(0)),
)


class Model:
    """The log as plain lists, and one reader as plain numbers."""

    def __init__(self, ends: dict[int, int]) -> None:
        self.begins = ends
        self.lists: dict[int, list[bytes]] = {partition: [] for partition in ends}
        self.positions: dict[int, int] = {}

    def end(self, partition: int) -> int:
        return self.begins[partition] + len(self.lists[partition])

    def appended(self, partition: int, some: list[Entry]) -> Accepted:
        first = self.end(partition)
        self.lists[partition] += [entry.value for entry in some]
        return Accepted(first, self.end(partition) - 1, contiguous=True)

    @property
    def behind(self) -> bool:
        return any(offset < self.end(p) for p, offset in self.positions.items())

    def fetched(self, found: dict[int, list[LogRecord]]) -> None:
        """Check that this may be returned now, and go on behind it."""
        for partition, records in found.items():
            assert records
            for record in records:
                offset = self.positions[partition]
                expected = self.lists[partition][offset - self.begins[partition]]
                assert (record.partition, record.offset) == (partition, offset)
                assert record.value == expected
                self.positions[partition] = offset + 1


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(STEP, max_size=30))
async def test_any_sequence_of_steps_gives_what_plain_lists_give(
    address: str, steps: list[tuple[str, int, int]]
) -> None:
    log = open_log(address)
    await log.open(create_partitions=3)
    model = Model(await log.ends())
    model.positions = {0: model.end(0), 1: model.end(1)}
    reader = log.reader(model.positions)
    try:
        for number, (step, which, much) in enumerate(steps):
            if step == "append":
                some = entries(*(f"{number}.{place}" for place in range(much)))
                assert await log.append(which, some) == model.appended(which, some)
            elif step == "advance":
                to = min(model.end(which), model.positions.get(which, 0) + much)
                reader.advance(which, to)
                if which in model.positions:
                    model.positions[which] = max(to, model.positions[which])
            elif step == "add":
                model.positions[which] = max(model.begins[which], model.end(which) - much)
                reader.add(which, model.positions[which])
            elif step == "remove":
                reader.remove(which)
                model.positions.pop(which, None)
            else:
                model.fetched(found := await reader.fetch(which, 0.0))
                assert sum(map(len, found.values())) <= which
        async with asyncio.timeout(PATIENCE_S):
            while model.behind:
                model.fetched(await reader.fetch(10, 1.0))
        assert await log.ends() == {p: model.end(p) for p in range(3)}
    finally:
        await reader.aclose()
        await log.aclose()
