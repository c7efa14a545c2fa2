"""The worker and steps that do it harm: each is the end of a try, and not of the worker."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from meshline.engine.errors import StepsLost
from meshline.engine.worker import Worker
from meshline.events import facts
from meshline.workflow import Registry, Retry, StepContext
from tests.engine.test_worker import (
    AT_ONCE,
    QUICK,
    Order,
    Shipped,
    names,
    new_log,
    order_flow,
    publish,
    until_said,
    working,
)

WATCHFUL = replace(QUICK, loop_blocked_s=0.1, loop_blocked_s_max=0.3)


class Odd(BaseException):
    """An author's own, beside everything that is an Exception."""


async def opened_by(step: Callable[..., Any], **limits: Any) -> facts.ExceptionOpened:
    """Return the exception that one order comes to by the step."""
    log = await new_log()
    async with working(log, order_flow(step, **limits), settings=WATCHFUL):
        (run_id,) = await publish(log, 1)
        said = await until_said(log, run_id, facts.RunHeld)
    (opened,) = [data for data in said if isinstance(data, facts.ExceptionOpened)]
    return opened


async def test_an_error_beside_all_others_is_a_failed_try() -> None:
    async def ship(trigger: Order) -> Shipped:
        raise Odd("odd")

    opened = await opened_by(ship)

    assert opened.error is not None
    assert (opened.error.type, opened.error.message) == ("Odd", "odd")


async def test_a_plain_function_that_stops_an_iteration_is_a_failed_try() -> None:
    def ship(trigger: Order) -> Shipped:
        return next(iter(()))

    opened = await opened_by(ship)

    assert opened.error is not None
    assert "StopIteration" in opened.error.message


@pytest.mark.parametrize("large", ["x" * 50_000_000, ["x"] * 5_000_000, [["y" * 9] * 99] * 99_999])
async def test_a_vast_result_is_refused_at_once_and_not_tried_again(large: Any) -> None:
    tries: list[float] = []

    async def measure(trigger: Order) -> Shipped:
        return Shipped(number=1)

    async def ship(trigger: Order) -> Any:
        tries.append(time.monotonic())
        return large

    flow = order_flow(measure)
    flow.step(after=measure)(ship)
    log = await new_log()
    async with working(log, flow):
        (run_id,) = await publish(log, 1)
        said = await until_said(log, run_id, facts.RunHeld)
    (opened,) = [data for data in said if isinstance(data, facts.ExceptionOpened)]

    assert opened.error is not None
    assert opened.error.type == "ResultRefused:too_large"
    assert "return its address" in opened.error.message
    assert len(tries) == 1


@pytest.mark.parametrize("how", ["sleeps", "computes", "catches"])
async def test_a_step_that_keeps_the_loop_is_named_and_ended(
    how: str, caplog: pytest.LogCaptureFixture
) -> None:
    gives_up = time.monotonic() + 30

    async def ship(trigger: Order) -> Shipped:
        while time.monotonic() < gives_up:
            try:
                if how == "sleeps":
                    time.sleep(30)  # noqa: ASYNC251 - what is forbidden
            except Exception:
                continue
        return Shipped(number=1)

    started = time.monotonic()
    with caplog.at_level(logging.WARNING, "meshline.engine"):
        opened = await opened_by(ship)

    assert time.monotonic() - started < 25
    assert opened.error is not None
    assert opened.error.type == "StepBlockedLoop"
    assert "plain function" in opened.error.message
    [said, *_] = [r.getMessage() for r in caplog.records if "kept the event loop" in r.getMessage()]
    assert said.startswith("Step 'ship' of run ")
    assert "in ship" in said, "where it is"


async def test_others_of_the_worker_go_on_after_a_step_kept_the_loop() -> None:
    async def ship(trigger: Order) -> Shipped:
        if trigger.number == 1:
            time.sleep(30)  # noqa: ASYNC251 - what is forbidden
        await asyncio.sleep(0.01)
        return Shipped(number=trigger.number)

    log = await new_log()
    async with working(log, order_flow(ship), settings=WATCHFUL):
        run_ids = await publish(log, 1, 2, 3, 4)
        for run_id in run_ids[1:]:
            said = await until_said(log, run_id, facts.RunSucceeded)
            assert names(said).count("StepStarted") == 1


@pytest.mark.parametrize("how", ["in a thread", "on the loop", "with heartbeats"])
async def test_no_limit_counts_the_time_in_which_another_kept_the_loop(how: str) -> None:
    under_way = threading.Event()

    async def keep(trigger: Order) -> None:
        await asyncio.to_thread(under_way.wait)
        time.sleep(0.8)  # noqa: ASYNC251 - what is forbidden

    async def on_the_loop(trigger: Order, ctx: StepContext) -> Shipped:
        under_way.set()
        await asyncio.sleep(0.05)
        return Shipped(number=trigger.number)

    def in_a_thread(trigger: Order) -> Shipped:
        under_way.set()
        time.sleep(0.05)
        return Shipped(number=trigger.number)

    limits: dict[str, Any] = (
        {"heartbeat": "300ms"} if how == "with heartbeats" else {"timeout": "300ms"}
    )
    flow = order_flow(keep)
    flow.step(retry=AT_ONCE, **limits)(in_a_thread if how == "in a thread" else on_the_loop)
    log = await new_log()
    async with working(log, flow, settings=replace(WATCHFUL, loop_blocked_s_max=5.0)):
        (run_id,) = await publish(log, 1)
        said = await until_said(log, run_id, facts.RunSucceeded)

    assert "StepFailed" not in names(said)


async def test_a_limit_counts_the_time_in_which_the_step_itself_kept_the_loop() -> None:
    async def ship(trigger: Order) -> Shipped:
        while True:
            time.sleep(0.2)  # noqa: ASYNC251 - what is forbidden
            await asyncio.sleep(0)

    log = await new_log()
    flow = order_flow(ship, timeout="400ms", retry=Retry(attempts=1))
    async with working(log, flow, settings=replace(WATCHFUL, loop_blocked_s_max=5.0)):
        (run_id,) = await publish(log, 1)
        said = await until_said(log, run_id, facts.RunHeld)

    (opened,) = [data for data in said if isinstance(data, facts.ExceptionOpened)]
    assert opened.error is not None
    assert opened.error.type == "StepTimedOut"


async def test_a_step_that_ignores_its_cancellation_is_named_and_the_worker_ends_at_its_limit(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("meshline.engine.perform.LOST_AFTER_S", 0.05)
    go_on = asyncio.Event()

    async def ship(trigger: Order) -> Shipped:
        while not go_on.is_set():
            try:
                await go_on.wait()
            except asyncio.CancelledError:
                continue
        return Shipped(number=trigger.number)

    log = await new_log()
    settings = replace(QUICK, tries_lost_max=3, drain_s=0.1)
    worker = Worker(log, Registry(order_flow(ship, timeout="50ms")), name="w", settings=settings)
    running = asyncio.create_task(worker.run())
    with caplog.at_level(logging.WARNING, "meshline.engine"):
        await publish(log, 1)
        with pytest.raises(StepsLost, match="3 tries of this worker go on after their time-outs"):
            async with asyncio.timeout(90):
                await running
    go_on.set()

    assert "Step 'ship' of run" in caplog.text
    assert "1 of 3 such tries" in caplog.text
