"""The event loop of commands that handle many events."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

__all__ = ["run_fast"]


def run_fast(work: Awaitable[None]) -> None:
    """Run the coroutine on uvloop where there is one: for what handles many events."""

    async def main() -> None:
        await work

    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(main())


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop
