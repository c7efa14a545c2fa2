"""The faults, by name. Each strikes, lets it last, and takes it back; what heals by itself may.

A strike returns when its cause is gone. Whether all is well again is for the caller to see.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable
from random import Random

from meshline.events.log import Entry
from tests.acceptance.support.fleet import Member
from tests.faults.support.proxy import Line, Proxy
from tests.faults.support.site import Site

__all__ = ["ON_ONE_BROKER", "Strike"]

Strike = Callable[[Site, Random], Awaitable[None]]

DAY_S = 86_400.0


def killed(members: Callable[[Site], list[Member]]) -> Strike:
    """kill -9, and started again at once."""

    async def strike(site: Site, random: Random) -> None:
        member = random.choice(members(site))
        member.kill()
        await asyncio.sleep(random.uniform(0.0, 1.0))
        member.start()

    return strike


def frozen(members: Callable[[Site], list[Member]]) -> Strike:
    """SIGSTOP for longer than a session; then it goes on as if nothing had been."""

    async def strike(site: Site, random: Random) -> None:
        member = random.choice(members(site))
        member.signal(signal.SIGSTOP)
        await asyncio.sleep(random.uniform(1.5, 2.5))
        member.signal(signal.SIGCONT)

    return strike


async def worker_ended_in_order(site: Site, random: Random) -> None:
    """SIGTERM under load: it says what came of its tries, and ends with 0."""
    member = random.choice(site.workers)
    code = await asyncio.to_thread(member.end)
    assert code == 0, member.said()[-3000:]
    member.start()


async def worker_a_day_off(site: Site, random: Random) -> None:
    """A worker whose clock is a day ahead or behind takes part for a while."""
    ahead_s = random.choice([-DAY_S, DAY_S])
    extra = site.worker("worker-off", "--ahead-s", str(ahead_s))
    extra.start()
    await asyncio.to_thread(extra.wait_ready)
    await asyncio.sleep(2.0)
    extra.kill()


async def rebalance_storm(site: Site, random: Random) -> None:
    """Workers come and go faster than the group can settle."""
    extras = [site.worker(f"worker-storm-{n}", direct=n == 1) for n in (1, 2)]
    for _ in range(3):
        for extra in extras:
            extra.start()
        await asyncio.sleep(random.uniform(0.6, 1.4))
        for extra in extras:
            extra.kill()


async def two_on_one_partition(site: Site, random: Random) -> None:
    """A worker takes all partitions by force, whoever has them."""
    extra = site.worker("worker-insisting", "--insists")
    extra.start()
    await asyncio.to_thread(extra.wait_ready)
    await asyncio.sleep(3.0)
    extra.kill()


async def producer_out_of_sequence(site: Site, random: Random) -> None:
    """A worker's producer leaves out a number: the broker refuses all that follows."""
    random.choice(site.workers).signal(signal.SIGUSR2)
    await asyncio.sleep(0.5)


async def projector_behind(site: Site, random: Random) -> None:
    """Nobody feeds the views for a while; then somebody has much to read."""
    for member in site.projectors:
        member.kill()
    await asyncio.sleep(random.uniform(2.0, 4.0))
    for member in site.projectors:
        member.start()


async def broken_events(site: Site, random: Random) -> None:
    """Somebody writes into the log what is no event of Meshline, or hardly one."""
    broken = [
        b"",
        b"\x00\xff\xfe",
        b"{",
        b"[]",
        b"{" * 5_000,
        b'{"specversion":"1.0","id":"x","source":"/","type":"com.example.other","time":"now"}',
        b'{"specversion":"1.0","type":"meshline.trigger.received.v1","data":{"source":1}}',
        b'"' + b"x" * 400_000 + b'"',
    ]
    async with site.place.opened_log() as log:
        for partition in range(log.identity.partitions):
            await log.append(partition, [Entry("nobody", value) for value in broken])


async def broker_killed(site: Site, random: Random) -> None:
    broker = random.choice(site.kafka.brokers)
    broker.kill()
    await asyncio.sleep(random.uniform(0.0, 1.0))
    await asyncio.to_thread(site.kafka.start)


async def broker_frozen(site: Site, random: Random) -> None:
    broker = random.choice(site.kafka.brokers)
    broker.pause()
    await asyncio.sleep(random.uniform(1.5, 3.0))
    broker.resume()


def broker_away(seconds: float) -> Strike:
    async def strike(site: Site, random: Random) -> None:
        broker = random.choice(site.kafka.brokers)
        broker.kill()
        await asyncio.sleep(seconds)
        await asyncio.to_thread(site.kafka.start)

    return strike


async def postgres_killed(site: Site, random: Random) -> None:
    site.kill_postgres()
    await asyncio.sleep(random.uniform(0.0, 1.0))
    await asyncio.to_thread(site.start_postgres)


async def postgres_frozen(site: Site, random: Random) -> None:
    site.freeze_postgres()
    await asyncio.sleep(random.uniform(1.5, 3.0))
    site.wake_postgres()


def postgres_away(seconds: float) -> Strike:
    async def strike(site: Site, random: Random) -> None:
        site.kill_postgres()
        await asyncio.sleep(seconds)
        await asyncio.to_thread(site.start_postgres)

    return strike


def line_is(lines: Callable[[Site], list[Proxy]], line: Line) -> Strike:
    async def strike(site: Site, random: Random) -> None:
        for proxy in lines(site):
            proxy.set(line)
        await asyncio.sleep(random.uniform(1.0, 2.5))
        for proxy in lines(site):
            proxy.heal()

    return strike


def line_slow(lines: Callable[[Site], list[Proxy]]) -> Strike:
    async def strike(site: Site, random: Random) -> None:
        for proxy in lines(site):
            proxy.delay_s = random.uniform(0.05, 0.15)
        await asyncio.sleep(random.uniform(1.5, 3.0))
        for proxy in lines(site):
            proxy.heal()

    return strike


def line_cut(lines: Callable[[Site], list[Proxy]]) -> Strike:
    """All connections are reset, a few times."""

    async def strike(site: Site, random: Random) -> None:
        for _ in range(3):
            for proxy in lines(site):
                proxy.cut()
            await asyncio.sleep(random.uniform(0.0, 0.5))

    return strike


def line_half_open(lines: Callable[[Site], list[Proxy]]) -> Strike:
    """The servers' ends are gone, and no client is told: each must find out by itself."""

    async def strike(site: Site, random: Random) -> None:
        for proxy in lines(site):
            proxy.half_open()

    return strike


def _workers(site: Site) -> list[Member]:
    return site.workers


def _projectors(site: Site) -> list[Member]:
    return site.projectors


def _clients(site: Site) -> list[Member]:
    return site.clients


def _kafka(site: Site) -> list[Proxy]:
    return site.kafka_lines


def _postgres(site: Site) -> list[Proxy]:
    return [site.postgres_line]


ON_ONE_BROKER: dict[str, Strike] = {
    "worker killed": killed(_workers),
    "broker killed": broker_killed,
    "PostgreSQL killed": postgres_killed,
    "worker frozen": frozen(_workers),
    "broker frozen": broker_frozen,
    "PostgreSQL frozen": postgres_frozen,
    "projector killed": killed(_projectors),
    "projector frozen": frozen(_projectors),
    "client killed": killed(_clients),
    "client frozen": frozen(_clients),
    "worker ended by SIGTERM": worker_ended_in_order,
    "worker a day off": worker_a_day_off,
    "rebalance storm": rebalance_storm,
    "two workers on all partitions": two_on_one_partition,
    "producer out of sequence": producer_out_of_sequence,
    "projector far behind": projector_behind,
    "broken events": broken_events,
    "Kafka: lines cut": line_cut(_kafka),
    "Kafka: lines closed": line_is(_kafka, "closed"),
    "Kafka: lines silent": line_is(_kafka, "silent"),
    "Kafka: answers lost": line_is(_kafka, "deaf"),
    "Kafka: lines slow": line_slow(_kafka),
    "Kafka: lines half-open": line_half_open(_kafka),
    "PostgreSQL: line cut": line_cut(_postgres),
    "PostgreSQL: line closed": line_is(_postgres, "closed"),
    "PostgreSQL: line silent": line_is(_postgres, "silent"),
    "PostgreSQL: answers lost": line_is(_postgres, "deaf"),
    "PostgreSQL: line half-open": line_half_open(_postgres),
}
"""In the order of their weight: a short run takes the first and draws from the others."""
