"""The faults, by name. Each strikes, lets it last, and takes it back; what heals by itself may.

A strike returns when its cause is gone. Whether all is well again is for the caller to see.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable
from random import Random

from meshline.events.log import Entry, Unknown
from tests.acceptance.support.fleet import Member
from tests.faults.support.proxy import Line, Proxy
from tests.faults.support.site import Site

__all__ = [
    "ON_FULL_DISKS",
    "ON_ONE_BROKER",
    "ON_POSTGRES_ALONE",
    "ON_THREE_BROKERS",
    "RARE",
    "Strike",
]

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
    """A worker whose clock is a day behind or ahead takes part: it ends before it says anything."""
    extra = site.worker("worker-off", "--ahead-s", str(random.choice((-DAY_S, DAY_S))))
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


# -- on several brokers ----------------------------------------------------------------------------


async def leader_killed(site: Site, random: Random) -> None:
    """The broker that leads a partition is gone for a while; another leads it then."""
    broker = site.kafka.brokers[await site.leader_of(0)]
    broker.kill()
    await asyncio.sleep(random.uniform(3.0, 6.0))
    await asyncio.to_thread(site.kafka.start)
    await site.until_in_sync(3)


async def one_in_sync(site: Site, random: Random) -> None:
    """A leader that no follower can reach takes nothing: two replicas must have it."""
    while True:
        leader = await site.leader_of(0)
        site.kafka_lines[leader].set("silent")
        try:
            await site.until_in_sync(1, limit_s=60.0)
            break
        except AssertionError:
            # The cluster has just given the partition to another leader, as it does by itself.
            # Or it does not drop the others, and nothing is learnt.
            site.kafka_lines[leader].heal()
            if await site.leader_of(0) == leader:
                print("     the others stay in sync: not brought about")
                return
    async with site.place.opened_log() as log:
        refused = await log.append(0, [Entry("nobody", b"on one replica only")], deadline_s=2.0)
    assert isinstance(refused, Unknown), refused
    site.kafka_lines[leader].heal()
    await site.until_in_sync(3)


def all_brokers_away(seconds: float) -> Strike:
    async def strike(site: Site, random: Random) -> None:
        site.kafka.kill()
        await asyncio.sleep(seconds)
        await asyncio.to_thread(site.kafka.start)
        await site.until_in_sync(3)

    return strike


async def two_brokers_killed(site: Site, random: Random) -> None:
    """Of three: nothing can be taken until one of them is back."""
    for broker in random.sample(site.kafka.brokers, 2):
        broker.kill()
    await asyncio.sleep(random.uniform(2.0, 4.0))
    await asyncio.to_thread(site.kafka.start)
    await site.until_in_sync(3)


# -- on disks that can be full ---------------------------------------------------------------------


async def kafka_disk_full(site: Site, random: Random) -> None:
    """A broker that can't write ends; with room again it starts again."""
    assert site.kafka_disk is not None
    await asyncio.to_thread(site.kafka_disk.fill)
    for _ in range(100):
        await asyncio.sleep(0.1)
        if not site.kafka.brokers[0].running:
            break
    site.kafka_disk.clear()
    if site.kafka.brokers[0].running:
        # It did not need to write: as good as new.
        return
    await asyncio.to_thread(site.kafka.start)


async def postgres_disk_full(site: Site, random: Random) -> None:
    assert site.postgres_disk is not None
    await asyncio.to_thread(site.postgres_disk.fill)
    await asyncio.sleep(random.uniform(4.0, 8.0))
    site.postgres_disk.clear()
    await asyncio.to_thread(site.start_postgres)


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
    "broker away for 20 s": broker_away(20.0),
    "PostgreSQL killed": postgres_killed,
    "worker frozen": frozen(_workers),
    "broker killed": broker_killed,
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

ON_POSTGRES_ALONE = {
    name: strike
    for name, strike in ON_ONE_BROKER.items()
    if not any(word in name for word in ("Kafka", "broker", "producer"))
}
"""Where the log is in PostgreSQL as well."""

ON_THREE_BROKERS: dict[str, Strike] = ON_ONE_BROKER | {
    "leader killed": leader_killed,
    "one replica in sync": one_in_sync,
    "two brokers of three killed": two_brokers_killed,
    "broker away for 2 minutes": broker_away(120.0),
    "PostgreSQL away for a minute": postgres_away(60.0),
    "all brokers away for a minute": all_brokers_away(60.0),
}

ON_FULL_DISKS: dict[str, Strike] = {
    "a broker's disk full": kafka_disk_full,
    "PostgreSQL's disk full": postgres_disk_full,
}
"""Where disks could be mounted that can be full."""

RARE = (
    "broker away for 2 minutes", "PostgreSQL away for a minute", "all brokers away for a minute",
)  # fmt: skip
"""Once each, however long it goes on."""
