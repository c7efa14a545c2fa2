"""The loop of long-running commands ends, whatever still runs on it."""

from __future__ import annotations

import subprocess
import sys
import time

PROGRAM = """
import asyncio
from meshline.cli import loops

loops.END_S = 0.3

async def deaf():
    while True:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            continue

async def main():
    going_on = asyncio.create_task(deaf())
    await asyncio.sleep(0)
    print("done")
    if {fails}:
        raise RuntimeError("failed")

loops.run_fast(main())
"""


def run(fails: bool) -> tuple[subprocess.CompletedProcess[str], float]:
    started = time.monotonic()
    program = PROGRAM.replace("{fails}", str(fails))
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=False
    )
    return done, time.monotonic() - started


def test_a_task_that_does_not_heed_its_cancellation_is_not_waited_for() -> None:
    done, took_s = run(fails=False)

    assert (done.returncode, done.stdout) == (0, "done\n")
    assert "A step goes on although it was cancelled" in done.stderr
    assert took_s < 20


def test_a_failure_stays_one() -> None:
    done, _ = run(fails=True)

    assert done.returncode == 1
