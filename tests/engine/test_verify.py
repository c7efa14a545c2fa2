"""A log that a worker wrote is found whole; each damage that is done to it is found and named."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

import orjson
import pytest

from meshline.engine.core.auditor import Auditor
from meshline.engine.core.state import PartitionState
from meshline.engine.verify import LogCheck, Probe
from meshline.events import facts, requests
from meshline.events.clock import SystemClock
from meshline.events.codec import decode, encode
from meshline.events.fence import Fence
from meshline.events.history import read_seal
from meshline.events.log import Entry, LogRecord
from meshline.events.log.memory import MemoryLog
from meshline.events.log.reading import seal_log
from meshline.events.requests import StepError
from meshline.events.violations import Violation, violation
from meshline.workflow import Registry
from tests.engine.day import GOOD, HELD, REGISTRY, live_a_day, orders

Records = list[LogRecord]


def of(log: MemoryLog) -> Records:
    return log._opened.records[0]


@pytest.fixture(scope="module")
def written() -> MemoryLog:
    async def write() -> MemoryLog:
        log = MemoryLog()
        await log.open(create_partitions=1)
        await live_a_day(log)
        return log

    return asyncio.run(write())


@contextmanager
def as_was(log: MemoryLog) -> Iterator[Records]:
    """The log's records, to be damaged; afterwards they are as before."""
    before = list(of(log))
    try:
        yield of(log)
    finally:
        of(log)[:] = before


async def found_in(
    log: MemoryLog, registry: Registry | None = None, *, later_s: float = 0.0, **more: Any
) -> list[Violation]:
    now = SystemClock().now() + timedelta(seconds=later_s)
    return [v async for v in LogCheck(log, registry, now, patience_s=60.0, **more).run()]


def codes(found: list[Violation]) -> list[str]:
    return [each.code for each in found]


# -- where things stand, and how they are damaged ----------------------------------------------


def index_of(records: Records, kind: type[Any], run_id: str = GOOD) -> int:
    return next(
        n
        for n, record in enumerate(records)
        if isinstance((event := decode(record.value)).data, kind) and event.subject == run_id
    )


def renumber(records: Records) -> None:
    records[:] = [record._replace(offset=n) for n, record in enumerate(records)]


def fact_of(records: Records, data: facts.Fact, run_id: str, time: datetime | None = None) -> bytes:
    """A fact that counts if it is appended now: of the latest epoch, with the next number."""
    fence = Fence()
    for record in records:
        last = decode(record.value)
        fence.admits(last, record.offset)
    event = decode(records[index_of(records, facts.RunStarted)].value)._replace(
        data=data, subject=run_id, causation_id=None, time=time or SystemClock().now()
    )
    return encode(event.numbered(fence.epoch, fence.sequence + 1, "meshline/0"))


def put(records: Records, data: facts.Fact, run_id: str, time: datetime | None = None) -> None:
    value = fact_of(records, data, run_id, time)
    records.append(LogRecord(0, len(records), run_id, value, records[-1].appended_ms))


def drop(kind: type[Any], run_id: str = GOOD) -> Callable[[Records], None]:
    """One record is gone, and nobody sees where it was."""

    def damage(records: Records) -> None:
        del records[index_of(records, kind, run_id)]
        renumber(records)

    return damage


def hole(records: Records) -> None:
    del records[index_of(records, facts.StepStarted)]


def change_payload(records: Records) -> None:
    n = index_of(records, requests.TriggerReceived)
    value = records[n].value.replace(b'"number":1', b'"number":7')
    assert value != records[n].value
    records[n] = records[n]._replace(value=value)


def break_fact(records: Records) -> None:
    n = index_of(records, facts.StepSucceeded)
    records[n] = records[n]._replace(value=records[n].value[:-1] + b"!")


def twice(records: Records) -> None:
    """A copy that counts: a worker that said the outcome again, in its own turn."""
    put(records, facts.StepFailed(step="ship", attempt=2, error=_error()), HELD)


def _error() -> StepError:
    return StepError(type="RuntimeError", message="no parcel")


def wrong_run(records: Records) -> None:
    accepted = decode(records[index_of(records, facts.TriggerAccepted)].value).data
    put(records, accepted, "11111111-1111-5111-8111-111111111111")


def started_again(records: Records) -> None:
    put(records, decode(records[index_of(records, facts.TriggerAccepted)].value).data, GOOD)


def after_the_end(records: Records) -> None:
    put(records, facts.StepStarted(step="ship", attempt=2), GOOD)


def of_nobody(records: Records) -> None:
    put(records, facts.StepStarted(step="ship", attempt=1), "22222222-2222-5222-8222-222222222222")


def early(records: Records) -> None:
    at = SystemClock().now() + timedelta(hours=1)
    put(records, facts.TimerSet(timer="rest", at=at), HELD)
    put(records, facts.TimerFired(timer="rest"), HELD, at - timedelta(seconds=1))


def fired_again(records: Records) -> None:
    put(records, facts.TimerFired(timer="rest"), HELD)


def waits_for_nobody(records: Records) -> None:
    put(records, facts.RunWaiting(waits=()), HELD)


def skips_a_try(records: Records) -> None:
    put(records, facts.StepStarted(step="ship", attempt=9), HELD)


def other_log(records: Records) -> None:
    created = facts.LogCreated(log_id="another", partition=0, partitions=1)
    value = encode(decode(records[0].value)._replace(data=created))
    records[0] = records[0]._replace(value=value)


def newer(records: Records) -> None:
    value = records[-1].value.replace(b"partition.claimed.v1", b"partition.claimed.v9")
    records[-1] = records[-1]._replace(value=value)


def gibberish(records: Records) -> None:
    records.append(LogRecord(0, len(records), "", b"\xff not ours", records[-1].appended_ms))


DAMAGES: dict[Callable[[Records], None], str] = {
    hole: "records_missing",
    drop(facts.TriggerAccepted): "facts_overtook",
    drop(facts.PartitionClaimed, ""): "epoch_unknown",
    change_payload: "payload_changed",
    break_fact: "fact_unreadable",
    twice: "second_outcome",
    wrong_run: "run_id_wrong",
    started_again: "run_begun_twice",
    after_the_end: "fact_after_end",
    of_nobody: "fact_without_run",
    early: "timer_early",
    fired_again: "timer_unset",
    waits_for_nobody: "wait_unowned",
    skips_a_try: "attempt_out_of_turn",
    other_log: "log_wrong",
    newer: "version_unknown",
    gibberish: "record_unreadable",
}


@pytest.mark.parametrize("registry", [None, REGISTRY], ids=["without the app", "with it"])
async def test_a_log_that_a_worker_wrote_is_whole(
    written: MemoryLog, registry: Registry | None
) -> None:
    check = LogCheck(written, registry, SystemClock().now() + timedelta(days=1))

    assert [each async for each in check.run()] == []

    assert (check.checked.records, check.checked.void_facts) == (len(of(written)), 0)
    assert (check.checked.runs_open, check.checked.runs_ended) == (1, 1)


@pytest.mark.parametrize(
    ("damage", "code"),
    DAMAGES.items(),
    ids=[f"{code} ({damage.__name__})" for damage, code in DAMAGES.items()],
)
async def test_each_damage_is_named_with_its_place(
    written: MemoryLog, damage: Callable[[Records], None], code: str
) -> None:
    with as_was(written) as records:
        damage(records)
        found = await found_in(written, REGISTRY)

    named = next(each for each in found if each.code == code)
    assert named.at.startswith("0:")
    assert named.expected and named.found and named.do


async def test_a_request_that_lost_its_answer_and_one_that_lost_its_request(
    written: MemoryLog,
) -> None:
    with as_was(written) as records:
        drop(requests.TriggerReceived)(records)
        assert "answer_without_request" in codes(await found_in(written))

    with as_was(written) as records:
        del records[index_of(records, facts.TriggerAccepted) :]
        assert codes(await found_in(written)) == []
        assert "request_unanswered" in codes(await found_in(written, later_s=61.0))


async def test_what_an_older_keeper_says_is_void_and_no_violation(written: MemoryLog) -> None:
    with as_was(written) as records:
        old = records[index_of(records, facts.StepStarted, HELD)]
        records.append(old._replace(offset=len(records)))

        check = LogCheck(written, REGISTRY, SystemClock().now())
        assert [each async for each in check.run()] == []

    assert check.checked.void_facts == 1


async def test_a_keeper_that_goes_on_from_lost_facts_is_named(written: MemoryLog) -> None:
    with as_was(written) as records:
        # The second trigger came when the first was answered, and was answered too.
        drop(facts.TriggerAccepted)(records)
        found = await found_in(written)

    assert codes(found)[:2] == ["facts_overtook", "facts_lost"]


async def test_a_run_that_nobody_moves_is_named_only_with_its_definition(
    written: MemoryLog,
) -> None:
    with as_was(written) as records:
        end = index_of(records, facts.RunSucceeded)
        del records[end:]
        late = await found_in(written, REGISTRY, later_s=3_600.0)
        soon = await found_in(written, REGISTRY)

    assert "run_stuck" in codes(late)
    assert GOOD in {each.about for each in late}
    assert codes(soon) == []


async def test_another_definition_under_the_same_name_is_a_warning(written: MemoryLog) -> None:
    other = orders(rest="1h", owner="team:other")

    found = await found_in(written, Registry(other))

    assert "definition_differs" in codes(found)


async def test_more_failures_than_the_policy_allows_are_named(written: MemoryLog) -> None:
    strict = orders(attempts=1)

    assert "attempts_exceeded" in codes(await found_in(written, Registry(strict)))


# -- what others say of the log ----------------------------------------------------------------


class Kept:
    """A snapshot store that has this one."""

    def __init__(self, state: PartitionState) -> None:
        self.state = state

    async def load(self, partition: int) -> PartitionState | None:
        return self.state

    async def save(self, state: PartitionState) -> None: ...

    def save_later(self, state: PartitionState) -> None: ...


def state_at(records: Records, offset: int) -> PartitionState:
    auditor = Auditor(None)
    for record in records[:offset]:
        auditor.read(record)
    return auditor.state


async def test_a_snapshot_is_held_against_the_log(written: MemoryLog) -> None:
    half = len(of(written)) // 2
    right, wrong = state_at(of(written), half), state_at(of(written), half)
    wrong.runs[HELD].owner = "user:mallory"

    assert codes(await found_in(written, snapshots=Kept(right))) == []
    (found,) = await found_in(written, snapshots=Kept(wrong))

    assert (found.code, found.at) == ("snapshot_wrong", f"0:{half}")
    assert HELD in found.found


async def test_whoever_has_read_further_than_the_log_goes_shows_that_it_was_cut(
    written: MemoryLog,
) -> None:
    def look(state: PartitionState, last: LogRecord | None) -> Iterator[Violation]:
        yield violation("checkpoint_wrong", "", "", about="looked")

    here = Probe(0, 3, "a view", look)
    ahead = Probe(0, len(of(written)) + 1, "a view", look)

    assert codes(await found_in(written, probes=[here, ahead])) == [
        "checkpoint_wrong",
        "log_cut_off",
    ]


@pytest.fixture
async def seal(written: MemoryLog) -> AsyncIterator[Any]:
    made = await seal_log(written, SystemClock().now())
    yield ("sealed", read_seal(orjson.dumps(made, option=orjson.OPT_NON_STR_KEYS), "s"))


async def test_a_seal_proves_the_history_up_to_it(written: MemoryLog, seal: Any) -> None:
    assert codes(await found_in(written, seals=[seal])) == []

    with as_was(written) as records:
        gibberish(records)
        assert codes(await found_in(written, seals=[seal])) == ["record_unreadable"]


@pytest.mark.parametrize("what", ["value", "key", "order"])
async def test_bytes_that_were_changed_and_still_make_sense_contradict_the_seal(
    written: MemoryLog, seal: Any, what: str
) -> None:
    with as_was(written) as records:
        n = index_of(records, facts.StepSucceeded)
        if what == "value":
            changed = records[n].value.replace(b'"number":1', b'"number":9')
            assert changed != records[n].value
            records[n] = records[n]._replace(value=changed)
        elif what == "key":
            records[n] = records[n]._replace(key="another")
        else:
            records[0:3] = [records[0], records[2], records[1]]
            renumber(records)
        found = await found_in(written, seals=[seal])

    assert "history_changed" in codes(found)


async def test_a_seal_proves_a_copy_too_and_says_of_which_log_it_is(
    written: MemoryLog, seal: Any
) -> None:
    copy = MemoryLog()
    await copy.open(create_partitions=1)
    await copy.append(0, [Entry(record.key, record.value) for record in of(written)[1:]])

    assert codes(await found_in(copy, REGISTRY, seals=[seal])) == ["seal_of_another_log"]


async def test_a_log_that_was_cut_off_contradicts_the_seal(written: MemoryLog, seal: Any) -> None:
    with as_was(written) as records:
        end = len(records)
        del records[-1]
        (found,) = await found_in(written, seals=[seal])

    assert (found.code, found.at) == ("log_cut_off", f"0:{end - 1}")


async def test_what_stands_behind_a_hole_is_not_said_to_be_well(written: MemoryLog) -> None:
    with as_was(written) as records:
        hole(records)
        check = LogCheck(written, REGISTRY, SystemClock().now())
        found = [each async for each in check.run()]

    assert codes(found) == ["records_missing"]
    assert check.checked.records < len(of(written))
