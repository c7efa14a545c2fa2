"""The worker on the log in memory: claims, steps, failures of the log, hand-over, drain."""

from __future__ import annotations

import asyncio
import dataclasses
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from pydantic import BaseModel

from meshline.engine.core.state import PartitionState
from meshline.engine.settings import WorkerSettings
from meshline.engine.snapshots import NoSnapshots
from meshline.engine.worker import Worker
from meshline.events import facts
from meshline.events.codec import decode
from meshline.events.envelope import Actor, Event
from meshline.events.fence import Fence
from meshline.events.ids import run_id_of
from meshline.events.log import AppendResult, Entry, Unknown
from meshline.events.log.memory import MemoryLog
from meshline.events.publish import Publisher
from meshline.events.requests import CancelRequested
from meshline.workflow import FailRun, Registry, Retry, StepContext, Workflow

QUICK = WorkerSettings(sweep_s=0.01, reclaim_s=0.05, drain_s=2.0, stray_s=5.0)
AT_ONCE = Retry(attempts=3, initial="1ms", maximum="1ms")


class Order(BaseModel):
    number: int


class Shipped(BaseModel):
    number: int


def order_flow(step: Callable[..., Any], **limits: Any) -> Workflow:
    """A workflow of one step, which is its outcome."""
    flow = Workflow(
        "orders", trigger=Order, source="shop", owner="team:shop", exceptions="queue:shop",
        outcome=Shipped,
    )  # fmt: skip
    flow.step(**{"retry": AT_ONCE, **limits})(step)
    return flow


async def new_log(partitions: int = 2) -> MemoryLog:
    log = MemoryLog()
    await log.open(create_partitions=partitions)
    return log


@asynccontextmanager
async def working(
    log: Any, *flows: Workflow, settings: WorkerSettings = QUICK, name: str = "w"
) -> AsyncIterator[Worker]:
    worker = Worker(log, Registry(*flows), name=name, settings=settings)
    running = asyncio.create_task(worker.run())
    try:
        async with asyncio.timeout(90):
            await worker.ready()
        yield worker
    finally:
        worker.stop()
        await running


async def publish(log: Any, *numbers: int) -> list[str]:
    async with Publisher(log) as publisher:
        for number in numbers:
            await publisher.publish("shop", {"number": number}, trigger_id=str(number))
    return [run_id_of("shop", str(number)) for number in numbers]


async def history(log: MemoryLog, run_id: str) -> list[Event[Any]]:
    """Return the facts of the run that count, in the order of the log."""
    found: list[Event[Any]] = []
    reader = log.reader(dict.fromkeys(range(log.identity.partitions), 0))
    for records in (await reader.fetch(1_000_000, 0)).values():
        fence = Fence()
        for record in records:
            event = decode(record.value)
            if fence.admits(event, record.offset) and event.subject == run_id and event.is_fact:
                found.append(event)
    await reader.aclose()
    return found


async def until_said(log: MemoryLog, run_id: str, *kinds: type[facts.Fact]) -> list[facts.Fact]:
    """Wait until a fact of one of these kinds is said, and return all of the run's facts."""
    async with asyncio.timeout(90):
        while True:
            said = [event.data for event in await history(log, run_id)]
            if any(isinstance(data, kinds) for data in said):
                return said
            await asyncio.sleep(0.002)


def names(said: Sequence[facts.Fact]) -> list[str]:
    return [type(data).__name__ for data in said]


async def test_a_trigger_becomes_a_run_that_ends_with_its_outcome() -> None:
    async def ship(trigger: Order) -> Shipped:
        return Shipped(number=trigger.number)

    log = await new_log()
    async with working(log, order_flow(ship)):
        (run_id,) = await publish(log, 7)
        said = await until_said(log, run_id, facts.RunSucceeded)

    assert names(said) == [
        "TriggerAccepted", "RunStarted", "StepStarted", "StepSucceeded", "RunSucceeded",
    ]  # fmt: skip
    assert said[-1] == facts.RunSucceeded(outcome={"number": 7})


async def test_a_step_that_fails_is_tried_again_until_a_person_must_see_it() -> None:
    async def ship(trigger: Order) -> Shipped:
        raise ConnectionError("the warehouse is shut")

    log = await new_log()
    async with working(log, order_flow(ship)):
        (run_id,) = await publish(log, 1)
        said = await until_said(log, run_id, facts.RunHeld)

    assert names(said).count("StepFailed") == 3
    (opened,) = [data for data in said if isinstance(data, facts.ExceptionOpened)]
    assert (opened.route, opened.about, opened.blocking) == ("queue:shop", "ship", True)
    assert opened.error is not None
    assert (opened.error.type, opened.error.message) == ("ConnectionError", "the warehouse is shut")
    assert "ConnectionError" in (opened.error.stack or "")


@pytest.mark.parametrize(
    ("raised", "kind"),
    [
        (SystemExit(3), "SystemExit"),
        (asyncio.CancelledError(), "CancelledError"),
        (KeyError("x"), "KeyError"),
        (BaseExceptionGroup("both", [ValueError("a")]), "ExceptionGroup"),
    ],
)
async def test_whatever_a_step_raises_ends_its_try_and_not_the_worker(
    raised: BaseException, kind: str
) -> None:
    async def ship(trigger: Order) -> Shipped:
        if trigger.number == 1:
            raise raised
        return Shipped(number=2)

    log = await new_log(1)
    async with working(log, order_flow(ship, retry=Retry(attempts=1))):
        first, second = await publish(log, 1, 2)
        said = await until_said(log, first, facts.ExceptionOpened)
        await until_said(log, second, facts.RunSucceeded)

    (failed,) = [data for data in said if isinstance(data, facts.StepFailed)]
    assert failed.error.type == kind


async def test_a_try_that_takes_too_long_has_failed() -> None:
    async def ship(trigger: Order) -> Shipped:
        await asyncio.Event().wait()
        raise AssertionError

    log = await new_log()
    flow = order_flow(ship, timeout="20ms", retry=Retry(attempts=1))
    async with working(log, flow):
        (run_id,) = await publish(log, 1)
        said = await until_said(log, run_id, facts.ExceptionOpened)

    (failed,) = [data for data in said if isinstance(data, facts.StepFailed)]
    assert failed.error.type == "StepTimedOut"


async def test_a_try_without_a_heartbeat_has_failed_and_one_with_it_goes_on() -> None:
    async def ship(trigger: Order, ctx: StepContext) -> Shipped:
        for _ in range(10):
            await asyncio.sleep(0.02)
            if trigger.number == 1:
                ctx.heartbeat()
        return Shipped(number=trigger.number)

    log = await new_log()
    flow = order_flow(ship, heartbeat="100ms", retry=Retry(attempts=1))
    async with working(log, flow):
        alive, silent = await publish(log, 1, 2)
        await until_said(log, alive, facts.RunSucceeded)
        said = await until_said(log, silent, facts.ExceptionOpened)

    (failed,) = [data for data in said if isinstance(data, facts.StepFailed)]
    assert failed.error.type == "HeartbeatMissed"


async def test_plain_functions_run_in_threads_beside_each_other() -> None:
    together = threading.Barrier(3, timeout=60)

    def ship(trigger: Order) -> Shipped:
        together.wait()
        return Shipped(number=trigger.number)

    log = await new_log()
    async with working(log, order_flow(ship)):
        for run_id in await publish(log, 1, 2, 3):
            await until_said(log, run_id, facts.RunSucceeded)


async def test_no_more_tries_of_a_step_at_once_than_it_allows() -> None:
    now, most = 0, 0

    async def ship(trigger: Order) -> Shipped:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await asyncio.sleep(0.001)
        now -= 1
        return Shipped(number=trigger.number)

    log = await new_log()
    async with working(log, order_flow(ship, concurrency=2)):
        for run_id in await publish(log, *range(12)):
            await until_said(log, run_id, facts.RunSucceeded)

    assert most == 2


class Label(BaseModel):
    text: str


@pytest.mark.parametrize(
    ("result", "kind"),
    [({"txt": "a"}, "ResultInvalid"), (Label(text="x" * 70_000), "ResultRefused:too_large")],
)
async def test_a_result_that_does_not_fit_its_type_or_the_gate_is_not_tried_again(
    result: Any, kind: str
) -> None:
    flow = Workflow(
        "labels", trigger=Order, source="shop", owner="team:shop", exceptions="queue:shop",
        outcome=Label,
    )  # fmt: skip

    @flow.step(retry=AT_ONCE)
    async def write(trigger: Order) -> Label:
        return result  # type: ignore[no-any-return]  # the mistake at hand

    log = await new_log()
    async with working(log, flow):
        (run_id,) = await publish(log, 1)
        said = await until_said(log, run_id, facts.ExceptionOpened)

    (failed,) = [data for data in said if isinstance(data, facts.StepFailed)]
    assert failed.error.type == kind


async def test_a_step_can_say_that_the_run_has_failed() -> None:
    async def ship(trigger: Order) -> Shipped:
        raise FailRun("the order was a joke")

    log = await new_log()
    async with working(log, order_flow(ship)):
        (run_id,) = await publish(log, 1)
        said = await until_said(log, run_id, facts.RunFailed)

    assert said[-1] == facts.RunFailed(reason="the order was a joke")


async def test_a_cancelled_run_stops_what_is_under_way() -> None:
    begun, stopped = asyncio.Event(), asyncio.Event()

    async def ship(trigger: Order) -> Shipped:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()
        raise AssertionError

    log = await new_log()
    ada = Actor("user", "user:ada")
    async with working(log, order_flow(ship)) as worker, Publisher(log, actor=ada) as publisher:
        (run_id,) = await publish(log, 1)
        await begun.wait()
        await publisher.request(run_id, CancelRequested(reason="sold out"), actor=ada, wait_s=30)
        async with asyncio.timeout(90):
            await stopped.wait()
        assert worker.status().steps_under_way == 0

    assert names([event.data for event in await history(log, run_id)])[-1] == "RunCancelled"


async def test_a_stop_lets_what_is_under_way_finish_and_begins_nothing_new() -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()
    flow = Workflow(
        "orders", trigger=Order, source="shop", owner="team:shop", exceptions="queue:shop",
        outcome=Shipped,
    )  # fmt: skip

    @flow.step
    async def pick(trigger: Order) -> int:
        begun.set()
        await go_on.wait()
        return 1

    @flow.step
    async def ship(pick: int) -> Shipped:
        return Shipped(number=pick)

    log = await new_log()
    async with working(log, flow) as worker:
        (run_id,) = await publish(log, 1)
        await begun.wait()
        worker.stop()
        await asyncio.sleep(0.01)
        go_on.set()
    after_stop = names([event.data for event in await history(log, run_id)])
    async with working(log, flow, name="next"):
        said = await until_said(log, run_id, facts.RunSucceeded)

    assert after_stop[-1] == "StepSucceeded"
    assert names(said).count("StepStarted") == 2


async def test_another_worker_does_again_what_a_killed_one_was_at() -> None:
    async def ship(trigger: Order, ctx: StepContext) -> Shipped:
        if ctx.attempt == 1:
            await asyncio.Event().wait()
        return Shipped(number=trigger.number)

    log = await new_log(1)
    flow = order_flow(ship, retry=Retry(attempts=1))
    killed = asyncio.create_task(Worker(log, Registry(flow), name="killed", settings=QUICK).run())
    (run_id,) = await publish(log, 1)
    await until_said(log, run_id, facts.StepStarted)
    killed.cancel()
    await asyncio.gather(killed, return_exceptions=True)
    async with working(log, flow, name="next"):
        said = await until_said(log, run_id, facts.RunSucceeded)

    starts = [data for data in said if isinstance(data, facts.StepStarted)]
    assert [(start.attempt, start.why) for start in starts] == [(1, "ready"), (2, "taken_over")]


def boxes_flow(pack: Callable[..., Any], **limits: Any) -> Workflow:
    """As many boxes as the order's number, each packed by itself."""
    flow = Workflow(
        "orders", trigger=Order, source="shop", owner="team:shop", exceptions="queue:shop",
        outcome=Shipped,
    )  # fmt: skip

    @flow.step
    async def boxes(trigger: Order) -> list[int]:
        return list(range(trigger.number))

    flow.step(each="boxes", retry=AT_ONCE, **limits)(pack)

    @flow.step
    async def ship(pack: list[str]) -> Shipped:
        return Shipped(number=len(pack))

    return flow


async def test_a_step_is_done_for_all_items_at_the_same_time() -> None:
    met = asyncio.Barrier(5)

    async def pack(item: int, index: int, ctx: StepContext) -> str:
        if item == 3 and ctx.attempt == 1:
            raise RuntimeError("the box broke")
        if ctx.attempt == 1 or item == 3:
            await met.wait()
        return f"{item}/{index}/{ctx.step}"

    log = await new_log()
    async with working(log, boxes_flow(pack)):
        (run_id,) = await publish(log, 5)
        said = await until_said(log, run_id, facts.RunSucceeded)

    results = {d.step: d.result for d in said if isinstance(d, facts.StepSucceeded)}
    assert results["pack[4]"] == "4/4/pack[4]"
    assert said[-1] == facts.RunSucceeded(outcome={"number": 5})
    assert names(said).count("StepRetryScheduled") == 1


async def test_concurrency_is_of_all_items_together() -> None:
    at_once, most = 0, 0

    async def pack(item: int) -> str:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        await asyncio.sleep(0)
        at_once -= 1
        return "packed"

    log = await new_log()
    async with working(log, boxes_flow(pack, concurrency=2)):
        (run_id,) = await publish(log, 150)
        said = await until_said(log, run_id, facts.RunSucceeded)

    assert said[-1] == facts.RunSucceeded(outcome={"number": 150})
    assert most == 2


async def test_another_worker_does_again_only_the_items_that_had_not_ended() -> None:
    async def pack(item: int, ctx: StepContext) -> str:
        if item == 1 and ctx.attempt == 1:
            await asyncio.Event().wait()
        return "packed"

    log = await new_log(1)
    flow = boxes_flow(pack)
    killed = asyncio.create_task(Worker(log, Registry(flow), name="killed", settings=QUICK).run())
    (run_id,) = await publish(log, 3)
    ended = 0
    while ended < 3:
        # The log in memory answers at once: without this nobody else would have a turn.
        await asyncio.sleep(0.002)
        said = await until_said(log, run_id, facts.StepSucceeded)
        ended = names(said).count("StepSucceeded")
    killed.cancel()
    await asyncio.gather(killed, return_exceptions=True)
    async with working(log, flow, name="next"):
        said = await until_said(log, run_id, facts.RunSucceeded)

    again = [d.step for d in said if isinstance(d, facts.StepStarted) and d.why == "taken_over"]
    assert again == ["pack[1]"]


class Slow(NoSnapshots):
    """Saves slowly, and tells that it has begun."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()

    async def save(self, state: PartitionState) -> None:
        self.begun.set()
        await asyncio.sleep(0.02)


async def test_partitions_may_go_elsewhere_while_a_stopping_worker_saves_its_state() -> None:
    async def ship(trigger: Order) -> Shipped:
        return Shipped(number=trigger.number)

    log = await new_log(4)
    snapshots = Slow()
    flow = order_flow(ship)
    worker = Worker(log, Registry(flow), name="w", settings=QUICK, snapshots=snapshots)
    running = asyncio.create_task(worker.run())
    await worker.ready()
    worker.stop()
    await snapshots.begun.wait()
    async with working(log, flow, name="next"):
        await running


class Faulty(MemoryLog):
    """A log whose answers get lost; ``arrives`` tells whether the entries do."""

    def __init__(self, arrives: list[bool]) -> None:
        super().__init__()
        self.arrives = arrives

    async def append(
        self, partition: int, entries: Sequence[Entry], *, deadline_s: float | None = None
    ) -> AppendResult:
        if not self.arrives:
            return await super().append(partition, entries, deadline_s=deadline_s)
        if self.arrives.pop():
            await super().append(partition, entries, deadline_s=deadline_s)
        return Unknown("no answer")


@pytest.mark.parametrize("arrives", [[False], [True], [True, False, True], [False] * 4])
async def test_appends_without_an_answer_are_settled_by_a_new_claim(arrives: list[bool]) -> None:
    performed: list[int] = []

    async def ship(trigger: Order) -> Shipped:
        performed.append(trigger.number)
        return Shipped(number=trigger.number)

    log = Faulty([])
    await log.open(create_partitions=1)
    async with working(log, order_flow(ship)):
        sound = MemoryLog()
        sound._store = log._store
        (run_id,) = await publish(sound, 1)
        log.arrives = list(arrives)
        said = await until_said(log, run_id, facts.RunSucceeded)

    assert names(said).count("StepSucceeded") == 1
    assert names(said).count("RunStarted") == 1
    assert performed


async def test_a_new_definition_is_taken_up_while_runs_go_on() -> None:
    async def ship(trigger: Order) -> Shipped:
        raise ConnectionError("shut")

    def mended() -> Workflow:
        async def ship(trigger: Order) -> Shipped:
            return Shipped(number=trigger.number)

        return order_flow(ship, retry=Retry(attempts=50, initial="1ms", maximum="1ms"))

    log = await new_log()
    flow = order_flow(ship, retry=Retry(attempts=50, initial="1ms", maximum="1ms"))
    async with working(log, flow) as worker:
        (run_id,) = await publish(log, 1)
        await until_said(log, run_id, facts.StepRetryScheduled)
        worker.replace_registry(Registry(mended()))
        said = await until_said(log, run_id, facts.RunSucceeded)

    assert said[-1] == facts.RunSucceeded(outcome={"number": 1})


async def test_a_run_that_no_worker_knows_is_an_exception_until_one_does() -> None:
    async def ship(trigger: Order) -> Shipped:
        return Shipped(number=trigger.number)

    log = await new_log()
    flow = order_flow(ship)
    waiting = Workflow(
        "orders", version=1, trigger=Order, source="shop", owner="team:shop",
        exceptions="queue:shop", outcome=Shipped,
    )  # fmt: skip
    waiting.sleep("nap", "1h")
    waiting.step(after="nap")(ship)
    async with working(log, waiting):
        (run_id,) = await publish(log, 1)
        await until_said(log, run_id, facts.RunWaiting)
    other = Workflow(
        "others", trigger=Order, source="other", owner="team:shop", exceptions="queue:shop",
        outcome=Shipped,
    )  # fmt: skip
    other.step(ship)
    async with working(log, other):
        said = await until_said(log, run_id, facts.RunHeld)
        assert [d.kind for d in said if isinstance(d, facts.ExceptionOpened)] == ["no_worker"]
    async with working(log, waiting):
        await until_said(log, run_id, facts.ExceptionResolved)
    assert flow.name == waiting.name


async def test_a_partition_that_comes_back_is_read_on_and_not_anew() -> None:
    class Asked(NoSnapshots):
        def __init__(self) -> None:
            self.partitions: list[int] = []

        async def load(self, partition: int) -> PartitionState | None:
            self.partitions.append(partition)
            return None

    async def ship(trigger: Order) -> Shipped:
        return Shipped(number=trigger.number)

    log, asked = await new_log(), Asked()
    flow = order_flow(ship)
    worker = Worker(log, Registry(flow), name="w", settings=QUICK, snapshots=asked)
    running = asyncio.create_task(worker.run())
    await worker.ready()
    async with working(log, flow, name="other"):
        assert len(worker.status().partitions) < 2
        for run_id in await publish(log, *range(10)):
            await until_said(log, run_id, facts.RunSucceeded)
    for run_id in await publish(log, *range(10, 20)):
        await until_said(log, run_id, facts.RunSucceeded)
    worker.stop()
    await running

    assert sorted(asked.partitions) == [0, 1]


async def test_a_worker_is_ready_when_it_holds_all_and_not_only_what_is_loaded() -> None:
    class Slow(NoSnapshots):
        def __init__(self) -> None:
            self.go_on = asyncio.Event()

        async def load(self, partition: int) -> PartitionState | None:
            if partition == 1:
                await self.go_on.wait()
            return None

    async def ship(trigger: Order) -> Shipped:
        return Shipped(number=trigger.number)

    log, slow = await new_log(), Slow()
    worker = Worker(log, Registry(order_flow(ship)), name="w", settings=QUICK, snapshots=slow)
    running = asyncio.create_task(worker.run())
    async with asyncio.timeout(90):
        while worker.status().partitions != (0,):  # noqa: ASYNC110
            await asyncio.sleep(0.002)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await worker.ready()
    slow.go_on.set()
    await worker.ready()

    assert worker.status().partitions == (0, 1)
    worker.stop()
    await running


async def test_a_worker_is_ready_as_soon_as_it_holds_all() -> None:
    async def ship(trigger: Order) -> Shipped:
        return Shipped(number=trigger.number)

    settings = dataclasses.replace(QUICK, sweep_s=3600)
    worker = Worker(await new_log(), Registry(order_flow(ship)), name="w", settings=settings)
    running = asyncio.create_task(worker.run())
    async with asyncio.timeout(90):
        await worker.ready()

    assert worker.status().partitions == (0, 1)
    worker.stop()
    await running
