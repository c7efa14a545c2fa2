"""Histories that were changed behind Meshline's back: who reads them ends, and says why."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, RecordsToDelete

from meshline.events import Publisher
from meshline.events.log import Entry, EventLog
from tests.acceptance.support.anything import SOURCE
from tests.acceptance.support.fleet import Fleet, Member
from tests.acceptance.support.places import Place, until
from tests.services.kafka import KafkaBroker

pytestmark = [pytest.mark.kafka, pytest.mark.postgres, pytest.mark.slow]

APP = "tests/acceptance/support/anything.py"
PATIENCE_S = 120.0

NEWER_FACT = (
    b'{"specversion":"1.0","id":"n","source":"meshline/0","type":"meshline.run.started.v99",'
    b'"subject":"some-run","time":"2026-01-05T09:31:07.250000Z","epoch":"1","sequence":"1",'
    b'"data":{"what":"nobody knows yet"}}'
)
NEWER_REQUEST = (
    b'{"specversion":"1.0","id":"n","source":"shop","type":"meshline.trigger.received.v99",'
    b'"subject":"some-run","time":"2026-01-05T09:31:07.250000Z","data":{"source":"shop"}}'
)


@asynccontextmanager
async def administrator(place: Place) -> AsyncIterator[AIOKafkaAdminClient]:
    admin = AIOKafkaAdminClient(bootstrap_servers=place.log.split("/")[2])
    await admin.start()
    try:
        yield admin
    finally:
        await admin.close()


def topic_of(place: Place) -> str:
    return place.log.rpartition("/")[2] + ".events"


@asynccontextmanager
async def at_work(place: Place, folder: Path, log: EventLog) -> AsyncIterator[list[Member]]:
    """A worker and a projector that have done something already."""
    where = ("--log", place.log, "--views", place.views)
    async with place.opened_views() as views:
        with Fleet(folder) as fleet:
            members = [
                fleet.command("worker", "worker", APP, *where),
                fleet.command("projector", "projector", *where),
            ]
            for member in members:
                member.start()
            async with Publisher(log) as publisher:
                for number in range(20):
                    await publisher.publish(
                        SOURCE, {"number": number}, trigger_id=str(number), trigger_type="Good"
                    )

            async def have_begun() -> bool:
                if not await views.are_there():
                    return False
                rows = await views.query("select count(*) from {ns}.runs where state = 'succeeded'")
                return bool(rows[0][0] == 20)

            await until("runs", PATIENCE_S, have_begun, alive=members)
            yield members


async def ends_of(members: list[Member]) -> dict[str, str]:
    """Wait until each has ended by itself, and return its last words."""

    async def have_ended() -> bool:
        return not any(member.is_running for member in members)

    await until("an end of all", PATIENCE_S, have_ended)
    assert [member.exit_code for member in members] == [1] * len(members)
    return {member.name: member.said().strip().splitlines()[-1] for member in members}


async def test_partitions_that_somebody_added_end_worker_and_projector(
    place: Place, tmp_path: Path
) -> None:
    async with place.opened_log(2) as log, at_work(place, tmp_path, log) as members:
        async with administrator(place) as admin:
            await admin.create_partitions({topic_of(place): NewPartitions(3)})
        words = await ends_of(members)

    for said in words.values():
        assert "ML2004" in said
        assert "has 3 partitions, but its log was created with 2" in said
        assert "meshline log copy" in said


async def test_a_topic_that_was_made_again_ends_worker_and_projector(
    place: Place, tmp_path: Path
) -> None:
    async with place.opened_log(2) as log, at_work(place, tmp_path, log) as members:
        async with administrator(place) as admin:
            await admin.delete_topics([topic_of(place)])
        async with place.opened_log(2):
            words = await ends_of(members)

    for said in words.values():
        assert "ML2003" in said
        assert f"expected the log {log.identity.log_id}" in said or "now keeps the log" in said


async def test_a_beginning_that_was_deleted_ends_worker_and_projector(
    place: Place, tmp_path: Path
) -> None:
    async with place.opened_log(2) as log, at_work(place, tmp_path, log) as members:
        async with administrator(place) as admin:
            partitions = [TopicPartition(topic_of(place), p) for p in range(2)]
            await admin.delete_records({p: RecordsToDelete(3) for p in partitions})
        words = await ends_of(members)

    for said in words.values():
        assert "ML2005" in said
        assert "begins at offset 3: expected 0" in said


async def test_an_end_that_was_cut_off_ends_worker_and_projector(
    fragile_place: Place, kafka_broker: KafkaBroker, tmp_path: Path
) -> None:
    place = fragile_place
    async with place.opened_log(2) as log, at_work(place, tmp_path, log) as members:
        kafka_broker.stop()
        for segment in kafka_broker.data.glob(f"log/{topic_of(place)}-*/*.log"):
            content = segment.read_bytes()
            segment.write_bytes(content[: len(content) // 2])
        # Else it is taken for shut down in order, and believed as it stands.
        (kafka_broker.data / "log/.kafka_cleanshutdown").unlink()
        await asyncio.to_thread(kafka_broker.start)
        words = await ends_of(members)

    for said in words.values():
        assert "ML2005" in said
        assert "the log was cut off" in said


@pytest.mark.parametrize("newer", [NEWER_FACT, NEWER_REQUEST], ids=["fact", "request"])
async def test_what_is_of_a_newer_version_ends_the_worker_and_stops_only_its_run_in_the_views(
    place: Place, tmp_path: Path, newer: bytes
) -> None:
    async with place.opened_log(1) as log, at_work(place, tmp_path, log) as members:
        worker, projector = members
        await log.append(0, [Entry("some-run", newer)])
        words = await ends_of([worker])
        async with place.opened_views() as views:

            async def is_read() -> bool:
                return await views.are_at(await log.ends())

            await until("views beyond it", PATIENCE_S, is_read)
        assert projector.is_running

    assert "ML1004" in words["worker"]
    assert "upgrade it" in words["worker"]
