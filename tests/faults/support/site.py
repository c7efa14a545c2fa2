"""Everything that a strike can hit: brokers, PostgreSQL, the lines to them, and the processes."""

from __future__ import annotations

import asyncio
import os
import signal
import time
import uuid
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from deploy.kafka.broker import (
    COMES_BACK_SOON,
    REPLICAS_FALL_OUT_SOON,
    KafkaCluster,
)

from meshline.cli.embedded import SOCKET, EmbeddedPostgres
from meshline.events.errors import LogUnavailable
from meshline.events.log.kafka_inspect import inspect_topic
from meshline.events.log.kafka_topic import KafkaTopic
from tests.acceptance.support.fleet import Fleet, Member
from tests.acceptance.support.places import Place, until
from tests.faults.support.disk import Disk
from tests.faults.support.proxy import Proxy

__all__ = ["Site", "opened_site"]

APP = "tests/acceptance/support/driven.py"
CLIENT = "tests.faults.support.client_process"


class Site:
    """One log, its views and snapshots in PostgreSQL, and who works with them.

    The log is on Kafka; without any broker it is in PostgreSQL, too.
    ``place`` leads to both directly, for the test; ``through_lines`` over the proxies.
    """

    def __init__(
        self,
        kafka: KafkaCluster,
        kafka_lines: list[Proxy],
        postgres: EmbeddedPostgres,
        postgres_line: Proxy,
        fleet: Fleet,
        folder: Path,
    ) -> None:
        self.kafka = kafka
        self.kafka_lines = kafka_lines
        self.postgres = postgres
        self.postgres_line = postgres_line
        self.fleet = fleet
        self.folder = folder
        self.kafka_disk: Disk | None = None
        self.postgres_disk: Disk | None = None
        """Where they may be filled, which only root may arrange."""
        self._namespace = f"t{uuid.uuid4().hex[:10]}"
        self.workers: list[Member] = []
        self.clients: list[Member] = []
        self.projectors: list[Member] = []
        self.restarts: list[str] = []
        """Members that ended by themselves and were started again, with their last words."""

    # -- addresses -----------------------------------------------------------------------------

    @property
    def place(self) -> Place:
        views = f"{self.postgres.dsn}&meshline_namespace={self._namespace}"
        if not self.kafka.brokers:
            return Place("postgres", views, views)
        return Place("kafka", f"kafka://{self.kafka.address}/{self._namespace}", views)

    @property
    def through_lines(self) -> Place:
        dsn = f"postgresql://meshline@127.0.0.1:{self.postgres_line.port}/postgres"
        views = f"{dsn}?meshline_namespace={self._namespace}"
        if not self.kafka.brokers:
            return Place("postgres", views, views)
        servers = ",".join(f"127.0.0.1:{line.port}" for line in self.kafka_lines)
        return Place("kafka", f"kafka://{servers}/{self._namespace}", views)

    # -- processes -----------------------------------------------------------------------------

    def worker(self, name: str, *more: str, direct: bool = False) -> Member:
        place = self.place if direct else self.through_lines
        snapshots = ("--snapshots", place.snapshots, "--snapshot-records", "2000")
        return self.fleet.worker(name, place.log, APP, *snapshots, *more)

    def client(self, number: int, of: int, orders: int, during_s: float) -> Member:
        place = self.through_lines
        name = f"client-{number}"
        consents = ("--views", place.views) if number == 1 else ()
        return self.fleet.add_module(
            name,
            CLIENT,
            *("--log", place.log, "--history", str(self.folder / f"{name}.jsonl"), *consents),
            *("--first", str(number), "--step", str(of), "--orders", str(orders)),
            *("--every-s", str(during_s * of / orders)),
        )

    def histories(self) -> list[Path]:
        return sorted(self.folder.glob("client-*.jsonl"))

    def staff(self, orders: int, during_s: float) -> None:
        """Make the processes, and start them."""
        place = self.through_lines
        # One worker and one projector reach everything directly: a line's fault spares them.
        self.workers = [self.worker("worker-1"), self.worker("worker-2", direct=True)]
        self.projectors = [
            self.fleet.projector("projector-1", place.log, place.views),
            self.fleet.projector("projector-2", self.place.log, self.place.views),
        ]
        self.clients = [self.client(number, 2, orders, during_s) for number in (0, 1)]
        for member in (*self.workers, *self.projectors):
            member.start()
        for member in (*self.workers, *self.projectors):
            member.wait_ready()
        for member in self.clients:
            member.start()

    def keep_up(self) -> None:
        """Start again who ended by itself, as whoever runs Meshline does."""
        for member in (*self.workers, *self.projectors, *self.clients):
            if not member.is_running:
                self.restarts.append(f"{member.name}: {member.said()[-400:]}")
                member.start()

    # -- servers -------------------------------------------------------------------------------

    def revive(self) -> None:
        """Let everything run again: brokers, PostgreSQL, processes, lines. Blocks."""
        for line in (*self.kafka_lines, self.postgres_line):
            line.heal()
        for disk in (self.kafka_disk, self.postgres_disk):
            if disk is not None:
                disk.clear()
        for broker in self.kafka.brokers:
            if broker.running:
                broker.resume()
        self.kafka.start()
        self.wake_postgres()
        self.start_postgres()
        for member in self.fleet.members.values():
            if member.is_running:
                member.signal(signal.SIGCONT)
        self.keep_up()

    def start_postgres(self) -> None:
        self.postgres.start()
        folder = parse_qs(urlsplit(self.postgres.dsn).query)["host"][0]
        self.postgres_line.target = f"{folder}/{SOCKET}"

    def _postgres_processes(self) -> list[int]:
        """The server and all of its processes: each freezes by itself."""
        server = self.postgres.process_id
        if server is None:
            return []
        found = [server]
        for status in Path("/proc").glob("[0-9]*/stat"):
            with suppress(OSError, IndexError, ValueError):
                if int(status.read_text().rpartition(")")[2].split()[1]) == server:
                    found.append(int(status.parent.name))
        return found

    def kill_postgres(self) -> None:
        if (server := self.postgres.process_id) is not None:
            with suppress(ProcessLookupError):
                os.kill(server, signal.SIGKILL)

    def freeze_postgres(self) -> None:
        for process in self._postgres_processes():
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGSTOP)

    def wake_postgres(self) -> None:
        for process in self._postgres_processes():
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGCONT)

    async def leader_of(self, partition: int) -> int:
        """The broker that leads the partition now, by its place in the cluster."""
        servers = ",".join(b.address for b in self.kafka.brokers if b.running)
        topic = KafkaTopic(servers, f"{self._namespace}.events", 10.0)
        await topic.connect()
        try:
            await topic.partitions()
            by_leader = await topic._by_leader([partition])
        finally:
            await topic.aclose()
        [leader] = by_leader
        return next(n for n, broker in enumerate(self.kafka.brokers) if broker.node_id == leader)

    async def until_in_sync(self, replicas: int, limit_s: float = 60.0) -> None:
        """Wait until the partition with the fewest replicas in sync has so many."""

        async def reached() -> bool:
            # Not over the lines that are struck: it would be their state that is waited for.
            servers = ",".join(b.address for b in self.kafka.brokers if b.running)
            with suppress(LogUnavailable):
                topic = await inspect_topic(f"kafka://{servers}/{self._namespace}")
                return topic.in_sync == replicas
            return False

        await until(f"{replicas} replicas in sync", limit_s, reached)


@asynccontextmanager
async def opened_site(
    folder: Path, servers: Path, nodes: int = 1, disks: tuple[Disk, Disk] | None = None
) -> AsyncGenerator[Site]:
    """A site with its servers running and nobody at work yet.

    Args:
        folder: for what the processes write.
        servers: for what Kafka and PostgreSQL keep; others must be able to enter it.
        disks: of the first broker and of PostgreSQL, in that folder.
    """
    lines = [Proxy() for _ in range(nodes)]
    postgres_line = Proxy()
    for line in (*lines, postgres_line):
        await line.start()
    properties = COMES_BACK_SOON
    if nodes > 1:
        # Followers, too, reach a broker over its line: if that is silent, they fall out of sync.
        properties += REPLICAS_FALL_OUT_SOON + "inter.broker.listener.name=PROXIED\n"
    kafka = KafkaCluster(
        servers / "kafka",
        nodes=nodes,
        proxy_ports=[line.port for line in lines],
        properties=properties,
    )
    for line, broker in zip(lines, kafka.brokers, strict=True):
        line.target = broker.proxied_port
    postgres = EmbeddedPostgres(servers / "postgres")
    started = time.monotonic()
    try:
        with Fleet(folder) as fleet:
            site = Site(kafka, lines, postgres, postgres_line, fleet, folder)
            site.kafka_disk, site.postgres_disk = disks or (None, None)
            await asyncio.gather(
                asyncio.to_thread(kafka.start), asyncio.to_thread(site.start_postgres)
            )
            print(f"servers up after {time.monotonic() - started:.0f} s")
            try:
                yield site
            finally:
                site.wake_postgres()
    finally:
        for line in (*lines, postgres_line):
            await line.aclose()
        kafka.kill()
        await asyncio.to_thread(postgres.close)
