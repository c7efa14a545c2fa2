"""Orders on their way while workers are killed: published, consented to, and watched."""

from __future__ import annotations

import asyncio
import signal
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from random import Random

from meshline.events import Publisher
from meshline.events.envelope import Actor
from meshline.events.ids import run_id_of
from meshline.events.requests import ApprovalSubmitted
from tests.acceptance.support.driven import ENDS, KINDS, Kind, Order
from tests.acceptance.support.fleet import Fleet, Member
from tests.acceptance.support.places import Views

__all__ = ["SOURCE", "Orders", "Reaper", "consenting"]

SOURCE = "test.orders"
LEAD = Actor("user", "user:lead")
CONSENT_POLL_S = 0.5


def order_of(number: int) -> Order:
    return Order(number=number, kind=KINDS[number % len(KINDS)])


@dataclass
class Orders:
    """So many orders, one in twenty of them published twice."""

    count: int
    statuses: Counter[str] = field(default_factory=Counter)
    published: int = 0

    @property
    def kinds(self) -> dict[str, Kind]:
        """By run id."""
        return {
            run_id_of(SOURCE, str(number)): order_of(number).kind for number in range(self.count)
        }

    @property
    def expected(self) -> dict[str, str]:
        """How each run stands when all is done."""
        return {run_id: ENDS[kind] for run_id, kind in self.kinds.items()}

    async def publish(self, publisher: Publisher, during_s: float) -> None:
        """Publish them evenly over the time, without waiting for anybody."""
        loop = asyncio.get_running_loop()
        started = loop.time()
        for number in range(self.count):
            await asyncio.sleep(max(0.0, started + during_s * number / self.count - loop.time()))
            for _ in range(2 if number % 20 == 0 else 1):
                answer = await publisher.publish(
                    SOURCE, order_of(number), trigger_id=str(number), trigger_type="Order"
                )
                self.statuses[answer.status] += 1
            self.published += 1


@asynccontextmanager
async def consenting(publisher: Publisher, views: Views, orders: Orders) -> AsyncGenerator[None]:
    """Meanwhile somebody looks at what is asked, and says yes or no as the order's kind wants."""

    async def decide() -> None:
        while True:
            kinds = orders.kinds
            left_alone = [run_id for run_id, kind in kinds.items() if kind == "asked"]
            rows = await views.query(
                "select run_id from {ns}.tasks where state = 'requested' and run_id <> all ($1)",
                left_alone,
            )
            for run_id in (row["run_id"] for row in rows):
                is_yes = kinds[run_id] == "approved"
                answer = ApprovalSubmitted(
                    approval="consent",
                    decision="approved" if is_yes else "denied",
                    reason="as it should be",
                )
                await publisher.request(run_id, answer, actor=LEAD)
            await asyncio.sleep(CONSENT_POLL_S)

    deciding = asyncio.create_task(decide())
    try:
        yield
    finally:
        deciding.cancel()
        await asyncio.gather(deciding, return_exceptions=True)
        if not deciding.cancelled():
            deciding.result()


@dataclass
class Reaper:
    """Kills workers at random moments, and now and then a projector; each starts again at once."""

    fleet: Fleet
    seed: int
    kills: Counter[str] = field(default_factory=Counter)

    async def reap(self, workers: list[Member], others: list[Member], count: int) -> None:
        """Kill workers so many times, with 1.5 to 4 s in between.

        A worker that was just started again may be the next: also one that never came up.
        """
        random = Random(self.seed)
        for number in range(count):
            await asyncio.sleep(random.uniform(1.5, 4.0))
            self._kill(random.choice(workers))
            if number % 5 == 4:
                self._kill(random.choice(others))

    def _kill(self, member: Member) -> None:
        assert member.is_running, f"{member.name} ended by itself:\n{member.said()[-3000:]}"
        member.signal(signal.SIGKILL)
        member.kill()
        self.kills[member.name] += 1
        member.start()
