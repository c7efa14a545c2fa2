"""What the processes of the acceptance tests have in common: logging, the loop, the end."""

from __future__ import annotations

import asyncio
import faulthandler
import logging
import signal
import sys
from collections.abc import Callable, Coroutine
from typing import Any, NoReturn

from meshline.cli.loops import run_fast
from meshline.events.log import LogSettings

__all__ = ["QUICK", "run_until_stopped", "stop_at_signal"]

QUICK = LogSettings(session_timeout_s=1.0, heartbeat_s=0.25)
"""A member that is silent for a second loses its partitions."""


def run_until_stopped(work: Coroutine[Any, Any, None]) -> NoReturn:
    """Run to the end, and say on stderr what Meshline says. SIGUSR1 shows all stacks."""
    faulthandler.register(signal.SIGUSR1)
    logging.basicConfig(
        format="%(asctime)s.%(msecs)03d %(levelname)s %(name)s: %(message)s",
        datefmt="%H:%M:%S",
        level=logging.WARNING,
    )
    logging.getLogger("meshline").setLevel(logging.INFO)
    run_fast(work)
    sys.exit(0)


def stop_at_signal(stop: Callable[[], None]) -> None:
    """Call ``stop`` at SIGTERM, and tell whoever started this process that it is up."""
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop)
    print("ready", flush=True)
