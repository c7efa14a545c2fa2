"""The doctor on a real broker and a real PostgreSQL: it really asks what promises depend on."""

from __future__ import annotations

import asyncio

import asyncpg
import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.protocol.admin import CreateAclsRequest

from meshline.cli import diagnosis
from meshline.cli.diagnosis import Finding
from meshline.events.log import open_log
from meshline.events.log.kafka_topic import KafkaTopic
from meshline.projections.postgres_connection import parse_address
from meshline.projections.postgres_store import PostgresStore
from tests.cli.doubles import TestedCall

pytestmark = pytest.mark.slow


SECURITY_DISABLED = 54
FORBIDDEN, ALLOWED = 2, 3


def by_name(findings: list[Finding]) -> dict[str, Finding]:
    return {finding.about: finding for finding in findings}


@pytest.mark.kafka
async def test_a_topic_whose_history_expires_is_an_error(
    kafka_address: str, kafka_servers: str
) -> None:
    log = open_log(kafka_address)
    await log.open(create_partitions=3)
    try:
        before = by_name(await diagnosis._kafka(kafka_address, log))
        admin = AIOKafkaAdminClient(bootstrap_servers=kafka_servers)
        await admin.start()
        topic = f"{kafka_address.rpartition('/')[2]}.events"
        wrong = {"retention.ms": "3600000", "cleanup.policy": "compact"}
        await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, wrong)])
        await admin.close()
        async with asyncio.timeout(90):
            while True:
                after = by_name(await diagnosis._kafka(kafka_address, log))
                if after["kafka retention.ms"].found != "-1":
                    break
    finally:
        await log.aclose()

    # One broker is no cluster, and says so; all else is as Meshline makes it.
    assert {about for about, f in before.items() if f.status != "ok"} <= {
        "kafka replicas",
        "kafka min.insync.replicas",
        "kafka auto.create.topics.enable",
    }
    assert before["kafka partitions"].found.startswith("3,")
    assert "kafka auto.create.topics.enable" in before
    assert after["kafka retention.ms"].status == after["kafka cleanup.policy"].status == "error"
    assert "--add-config retention.ms=-1" in after["kafka retention.ms"].do


@pytest.mark.kafka
async def test_a_client_that_may_not_append_is_told(kafka_address: str, kafka_servers: str) -> None:
    log = open_log(kafka_address)
    await log.open(create_partitions=1)
    name = f"{kafka_address.rpartition('/')[2]}.events"
    topic = KafkaTopic(kafka_servers, name, 10.0)
    await topic.connect()
    try:
        before = by_name(await diagnosis._kafka(kafka_address, log))
        await forbid_appending(topic)
        async with asyncio.timeout(90):
            while True:
                after = by_name(await diagnosis._kafka(kafka_address, log))
                if after["kafka rights"].status != "ok":
                    break
    finally:
        await topic.aclose()
        await log.aclose()

    assert (before["kafka rights"].status, after["kafka rights"].status) == ("ok", "error")
    assert f"--operation Write --topic {name}" in after["kafka rights"].do


async def forbid_appending(topic: KafkaTopic) -> None:
    a_topic, literally, all_things, to_write = 2, 3, 2, 4
    # A topic with any rule is closed to all whom none allows.
    for operation, permission in ((all_things, ALLOWED), (to_write, FORBIDDEN)):
        request = CreateAclsRequest(
            a_topic, topic.name, literally, "User:ANONYMOUS", "*", operation, permission
        )
        answer = await topic.client.send(topic.client.get_random_node(), request)
        code, message = answer.creation_responses[0]
        if code == SECURITY_DISABLED:
            pytest.skip("The broker of MESHLINE_TEST_KAFKA has no authorizer")
        assert code == 0, message


@pytest.mark.postgres
async def test_a_user_without_rights_is_told_which_are_missing(postgres_address: str) -> None:
    log, store = open_log(postgres_address), PostgresStore(postgres_address)
    await log.open(create_partitions=1)
    await store.open()
    await log.aclose()
    await store.aclose()
    parsed = parse_address(postgres_address)
    role, namespace = f"role_{parsed.namespace}", parsed.namespace
    connection = await asyncpg.connect(parsed.dsn)
    await connection.execute(f"create role {role}")
    limited = f"{postgres_address}{'&' if '?' in postgres_address else '?'}role={role}"
    call = TestedCall()
    try:
        all_rights = by_name(await diagnosis._postgres(call, postgres_address, "log"))
        none = by_name(await diagnosis._postgres(call, limited, "log"))
        grants = none["postgresql (log) rights"].do
        await connection.execute(grants)
        some = by_name(await diagnosis._postgres(call, limited, "log"))
        views = by_name(await diagnosis._postgres(call, limited, "views"))
        await connection.execute(views["postgresql (views) rights"].do)
        later = by_name(await diagnosis._postgres(call, limited, "views"))
    finally:
        await connection.execute(f"drop owned by {role}; drop role {role}")
        await connection.close()

    assert all_rights["postgresql (log) rights"].status == "ok"
    assert {all_rights[f"postgresql (log) {n}"].status for n in diagnosis._MUST_BE_ON} == {"ok"}
    assert none["postgresql (log) rights"].status == "error"
    assert f"{role} has no right to INSERT in {namespace}_log." in (
        none["postgresql (log) rights"].found
    )
    assert some["postgresql (log) rights"].status == "ok"
    assert views["postgresql (views) rights"].status == "error"
    assert "can't create schemas" in later["postgresql (views) rights"].found
