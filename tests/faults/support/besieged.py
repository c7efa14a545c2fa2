"""A site under load that is struck again and again, and held against its invariants each time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from random import Random

from meshline.events import Publisher
from meshline.events.errors import MeshlineError
from meshline.events.ids import run_id_of
from meshline.events.log import EventLog
from tests.acceptance.support.audit import Auditing
from tests.acceptance.support.driven import ENDS, KINDS, Order
from tests.acceptance.support.driving import SOURCE
from tests.acceptance.support.places import Views, until
from tests.acceptance.support.verdict import REGISTRY
from tests.faults.support.site import Site
from tests.faults.support.strikes import Strike

__all__ = ["PROBES", "Siege", "Wound", "expected_of"]

PROBES = 1_000_000
"""Where the numbers of probes begin; all of them are plain orders."""

RECOVERY_S = 120.0
PATIENCE_S = 10.0
"""What came or was due within this time may still be on its way."""


@dataclass
class Wound:
    """One strike, and how long it took from the end of its cause until all went well again."""

    name: str
    lasted_s: float
    runs_again_s: float
    """Until an order that was published then had its outcome, in the log."""
    seen_again_s: float
    """… and in the views."""


@dataclass
class Siege:
    """Strikes a site, and looks after each strike whether everything still holds."""

    site: Site
    log: EventLog
    views: Views
    seed: int
    wounds: list[Wound] = field(default_factory=list)
    probes: int = 0
    auditing: Auditing = field(default_factory=lambda: Auditing(REGISTRY))

    async def strike(self, name: str, strike: Strike, random: Random) -> None:
        started = time.monotonic()
        try:
            await strike(self.site, random)
        except AssertionError as error:
            raise AssertionError(f"{name}: {error}\n{self.last_words()}") from error
        lasted_s = time.monotonic() - started
        healed = time.monotonic()
        keeping_up = asyncio.create_task(self._keep_up())
        try:
            async with Publisher(self.log) as publisher:
                number = PROBES + KINDS.index("plain") + len(KINDS) * self.probes
                self.probes += 1
                await self._published(publisher, number)
                run_id = run_id_of(SOURCE, str(number))
                await until(f"a run after: {name}", RECOVERY_S, self._has_ended(run_id), 0.1)
                runs_again_s = time.monotonic() - healed
                await until(f"the views after: {name}", RECOVERY_S, self._is_seen(run_id), 0.1)
                seen_again_s = time.monotonic() - healed
            await until(f"nothing wrong after: {name}", RECOVERY_S, self._nothing_is_wrong, 0.5)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.last_words()}") from error
        finally:
            keeping_up.cancel()
        self.wounds.append(Wound(name, lasted_s, runs_again_s, seen_again_s))
        print(
            f"{len(self.wounds):>4} {name}: {runs_again_s:.1f} s, {seen_again_s:.1f} s", flush=True
        )

    def last_words(self) -> str:
        wrong = [*self.auditing.found.violations, *self.auditing.at_rest(PATIENCE_S)]
        problems = [str(each) for each in wrong]
        words = [f"== {m.name}\n{m.said()[-1500:]}" for m in self.site.fleet.members.values()]
        return "\n".join([*problems[:10], *words])

    async def _keep_up(self) -> None:
        while True:
            self.site.keep_up()
            await asyncio.sleep(0.5)

    async def _published(self, publisher: Publisher, number: int) -> None:
        give_up = time.monotonic() + RECOVERY_S
        while True:
            try:
                order = Order(number=number, kind="plain")
                await publisher.publish(SOURCE, order, trigger_id=str(number), trigger_type="Order")
                return
            except MeshlineError:
                if time.monotonic() > give_up:
                    raise

    def _has_ended(self, run_id: str) -> Callable[[], Awaitable[bool]]:
        async def reached() -> bool:
            found = await self.auditing.read_on(self.log)
            return found.statuses.get(run_id) == "succeeded"

        return reached

    def _is_seen(self, run_id: str) -> Callable[[], Awaitable[bool]]:
        async def reached() -> bool:
            rows = await self.views.query("select state from {ns}.runs where run_id = $1", run_id)
            return [row["state"] for row in rows] == ["succeeded"]

        return reached

    async def _nothing_is_wrong(self) -> bool:
        """Whether no run is stuck, and what the log says may be said."""
        found = await self.auditing.read_on(self.log)
        assert found.violations == []
        return self.auditing.at_rest(PATIENCE_S) == []

    def table(self) -> str:
        """The strikes by name: how many, and the middle and the worst of the times."""
        lines = [f"{'fault':<32}{'times':>6}{'runs again':>18}{'seen again':>18}"]
        by_name: dict[str, list[Wound]] = {}
        for wound in self.wounds:
            by_name.setdefault(wound.name, []).append(wound)
        for name, wounds in by_name.items():
            runs, seen = (
                sorted(getattr(wound, what) for wound in wounds)
                for what in ("runs_again_s", "seen_again_s")
            )
            cells = [f"{t[len(t) // 2]:.1f} s ≤ {t[-1]:.1f} s" for t in (runs, seen)]
            lines.append(f"{name:<32}{len(wounds):>6}{cells[0]:>18}{cells[1]:>18}")
        return "\n".join(lines)


def expected_of(orders: int, probes: int) -> dict[str, str]:
    """How each run stands in the end."""
    numbers = [
        *range(orders),
        *(PROBES + KINDS.index("plain") + len(KINDS) * n for n in range(probes)),
    ]
    return {run_id_of(SOURCE, str(number)): ENDS[KINDS[number % len(KINDS)]] for number in numbers}
