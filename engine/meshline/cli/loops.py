"""The event loop of commands that handle many events."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections.abc import Awaitable, Callable

__all__ = ["run_fast"]

END_S = 3.0
"""After all is said and closed, for tasks that were cancelled and go on all the same."""


def run_fast(work: Awaitable[None]) -> None:
    """Run the coroutine on uvloop where there is one: for what handles many events.

    When it is done the process ends within ``END_S``, also if a step does not heed that it was
    cancelled: the loop would wait for it for ever.
    """

    async def main() -> None:
        await work

    runner = asyncio.Runner(loop_factory=_loop_factory())
    failed = True
    try:
        runner.run(main())
        failed = False
    finally:
        last = threading.Timer(END_S, _leave, (int(failed),))
        last.daemon = True
        last.start()
        runner.close()
        last.cancel()


def _leave(code: int) -> None:
    print("A step goes on although it was cancelled: ended without it.", file=sys.stderr)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop
