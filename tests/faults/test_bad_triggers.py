"""As many bad triggers as good ones: the good do not wait for them, and nobody drowns in them.

`make soak-faults` does it with 10,000 of each: MESHLINE_FAULTS_BAD says how many.
"""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

import pytest

from meshline.events import Publisher
from meshline.events.log import EventLog
from tests.acceptance.support.anything import SOURCE
from tests.acceptance.support.fleet import Fleet
from tests.acceptance.support.places import Place, until

pytestmark = [pytest.mark.kafka, pytest.mark.postgres, pytest.mark.slow]

APP = "tests/acceptance/support/anything.py"
COUNT = int(os.environ.get("MESHLINE_FAULTS_BAD", "400"))
IS_SOAK = "MESHLINE_FAULTS_BAD" in os.environ
GOOD_PER_S = 200
PATIENCE_S = 120.0
WAIT_S = 30.0


async def publish_good(log: EventLog, first: int) -> list[float]:
    """Publish good triggers at an even pace; return how long each waited to be accepted."""
    loop = asyncio.get_running_loop()
    started = loop.time()
    async with Publisher(log) as publisher:

        async def one(number: int) -> float:
            begun = time.perf_counter()
            answer = await publisher.publish(
                SOURCE, {"number": number}, trigger_id=f"good {number}", trigger_type="Good",
                wait_s=WAIT_S,
            )  # fmt: skip
            assert answer.status == "accepted", answer
            return time.perf_counter() - begun

        waiting = []
        for number in range(COUNT):
            await asyncio.sleep(max(0.0, started + number / GOOD_PER_S - loop.time()))
            waiting.append(asyncio.create_task(one(first + number)))
        return sorted(await asyncio.gather(*waiting))


async def publish_bad(log: EventLog) -> None:
    """As many bad ones, meanwhile: a third each of no payload, the wrong one, and a failing run."""
    loop = asyncio.get_running_loop()
    started = loop.time()
    async with Publisher(log) as publisher:
        for number in range(COUNT):
            await asyncio.sleep(max(0.0, started + number / GOOD_PER_S - loop.time()))
            name = f"bad {number}"
            if number % 3 == 0:
                await publisher.publish_raw(SOURCE, b'{"number": \xff}', trigger_id=name)
            elif number % 3 == 1:
                payload = {"number": f"no number but {number}"}
                await publisher.publish(SOURCE, payload, trigger_id=name, trigger_type="Good")
            else:
                await publisher.publish(SOURCE, number, trigger_id=name, trigger_type="Anything")


async def test_good_triggers_do_not_wait_for_bad_ones_and_bad_ones_are_grouped(
    place: Place, tmp_path: Path
) -> None:
    where = ("--log", place.log, "--views", place.views)
    async with place.opened_log(2) as log, place.opened_views() as views:
        with Fleet(tmp_path) as fleet:
            members = [
                fleet.command("worker", "worker", APP, *where),
                fleet.command("projector", "projector", *where),
            ]
            for member in members:
                member.start()
            await until("the views", PATIENCE_S, views.are_there, alive=members)

            await publish_good(log, 1_000_000)
            alone = await publish_good(log, 2_000_000)
            among, _ = await asyncio.gather(publish_good(log, 3_000_000), publish_bad(log))

            async def all_settled() -> bool:
                rows = await views.query("select state, count(*) from {ns}.runs group by state")
                failing = len(range(2, COUNT, 3))
                return {r[0]: r[1] for r in rows} == {"succeeded": 3 * COUNT, "held": failing}

            await until("all settled", PATIENCE_S, all_settled, alive=members)
            rejected = await views.query(
                "select code, count(*) from {ns}.triggers where status = 'rejected' group by code"
            )
            causes = await views.query("select cause, count(*) from {ns}.exceptions group by cause")
            for member in members:
                assert member.end() == 0, member.said()[-2000:]

    assert {row[0]: row[1] for row in rejected} == {
        "unreadable": len(range(0, COUNT, 3)),
        "invalid": len(range(1, COUNT, 3)),
    }
    # What fails for one reason is one thing for people to look at, however often.
    assert [row[1] for row in causes] == [len(range(2, COUNT, 3))]
    p99 = [times[int(len(times) * 0.99)] for times in (alone, among)]
    print(
        f"{COUNT} good: p99 {p99[0] * 1000:.0f} ms alone, {p99[1] * 1000:.0f} ms among {COUNT} bad"
    )
    if IS_SOAK:
        assert p99[1] <= 2 * p99[0]
