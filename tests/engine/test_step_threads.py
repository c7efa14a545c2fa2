"""Threads that are given up: replaced, counted, and not waited for."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading

import pytest

from meshline.engine.step_threads import StepThreads


async def eventually(holds: object) -> None:
    assert callable(holds)
    async with asyncio.timeout(90):
        while not holds():  # noqa: ASYNC110 - threads set no event of the loop
            await asyncio.sleep(0.002)


async def test_results_and_errors_come_back_and_threads_are_used_again() -> None:
    threads = StepThreads(2)

    names = {await threads.run(lambda: threading.current_thread().name) for _ in range(20)}
    with pytest.raises(KeyError, match="gone"):
        await threads.run(lambda: threading.__dict__["gone"])
    with pytest.raises(SystemExit):
        await threads.run(sys.exit)

    assert names == {"meshline-step-1"}
    assert threads.lost == 0
    threads.close()


async def test_so_many_run_at_once_and_no_more() -> None:
    threads = StepThreads(3)
    go_on = threading.Event()
    begun: list[int] = []

    def work(number: int) -> int:
        begun.append(number)
        go_on.wait(5)
        return number

    works = [asyncio.create_task(threads.run(lambda n=n: work(n))) for n in range(7)]  # type: ignore[misc]
    await eventually(lambda: len(begun) == 3)
    await asyncio.sleep(0.02)
    assert len(begun) == 3
    go_on.set()

    assert sorted(await asyncio.gather(*works)) == list(range(7))
    threads.close()


async def test_a_stop_iteration_is_an_error_like_others() -> None:
    """A future takes none: it would never be done."""
    threads = StepThreads(1)

    with pytest.raises(RuntimeError, match="StopIteration"):
        async with asyncio.timeout(90):
            await threads.run(lambda: next(iter([])))
    threads.close()


async def test_who_is_given_up_makes_room_at_once_and_is_lost_until_it_comes_back() -> None:
    threads = StepThreads(1)
    stuck, begun = threading.Event(), threading.Event()

    def hang() -> None:
        begun.set()
        stuck.wait(5)

    hanging = asyncio.create_task(threads.run(hang))
    await eventually(begun.is_set)
    hanging.cancel()
    assert await threads.run(lambda: "in its place") == "in its place"
    assert threads.lost == 1

    stuck.set()
    await eventually(lambda: threads.lost == 0)
    assert await threads.run(lambda: 2) == 2
    threads.close()


async def test_who_is_given_up_before_its_turn_never_runs() -> None:
    threads = StepThreads(1)
    stuck, ran = threading.Event(), threading.Event()
    first = asyncio.create_task(threads.run(lambda: stuck.wait(5)))
    second = asyncio.create_task(threads.run(ran.set))
    await asyncio.sleep(0.01)

    second.cancel()
    await asyncio.wait([second])
    stuck.set()
    await first
    await threads.run(lambda: None)

    assert not ran.is_set()
    assert threads.lost == 0
    threads.close()


def test_a_process_ends_although_a_thread_does_not() -> None:
    program = """
import asyncio, time
from meshline.engine.step_threads import StepThreads

async def main():
    threads = StepThreads(1)
    try:
        async with asyncio.timeout(0.1):
            await threads.run(lambda: time.sleep(60))
    except TimeoutError:
        print("given up", threads.lost)
    threads.close()

asyncio.run(main())
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=20, check=True
    )

    assert done.stdout == "given up 1\n"
