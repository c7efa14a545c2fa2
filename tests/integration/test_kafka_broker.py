"""The broker that the tests run against can be killed, paused and restarted."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from deploy.kafka.broker import COMES_BACK_SOON, KafkaCluster, answers, missing_tools

from meshline.events.log import Accepted, Entry, LogSettings
from meshline.events.log.kafka import KafkaLog
from meshline.events.log.kafka_inspect import inspect_topic
from tests.services.kafka import KafkaBroker

pytestmark = [pytest.mark.kafka, pytest.mark.slow]


def test_a_killed_broker_starts_again_at_the_same_address(kafka_broker: KafkaBroker) -> None:
    port = kafka_broker.port

    kafka_broker.kill()
    assert not answers(port)
    kafka_broker.start()

    assert kafka_broker.port == port
    assert answers(port)


def test_a_paused_broker_answers_nobody_until_it_is_resumed(kafka_broker: KafkaBroker) -> None:
    kafka_broker.pause()
    silent = not answers(kafka_broker.port)
    kafka_broker.resume()

    assert silent
    assert answers(kafka_broker.port)


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[KafkaCluster]:
    if (missing := missing_tools()) is not None:
        pytest.skip(f"No Kafka brokers here: {missing}")
    cluster = KafkaCluster(tmp_path / "cluster", properties=COMES_BACK_SOON)
    cluster.start()
    yield cluster
    cluster.kill()


async def test_three_brokers_keep_what_they_took_when_one_is_killed(cluster: KafkaCluster) -> None:
    settings = LogSettings(append_deadline_s=30, open_deadline_s=30)
    log = KafkaLog(f"kafka://{cluster.address}/kept", settings)
    await log.open(create_partitions=3)
    before = await log.append_by_partition({p: [Entry("run", b"before")] for p in range(3)})
    topic = await inspect_topic(log.address)

    # Each of them leads one of three partitions.
    cluster.brokers[0].kill()
    after = await log.append_by_partition({p: [Entry("run", b"after")] for p in range(3)})
    reader = log.reader(dict.fromkeys(range(3), 1))
    found: dict[int, list[bytes]] = {}
    while sum(map(len, found.values())) < 6:
        for partition, records in (await reader.fetch(100, 5.0)).items():
            found.setdefault(partition, []).extend(record.value for record in records)
    await log.aclose()

    assert (topic.brokers, topic.replicas, topic.in_sync) == (3, 3, 3)
    assert topic.settings["min.insync.replicas"] == "2"
    answers_given = [*before.values(), *after.values()]
    assert all(isinstance(answer, Accepted) for answer in answers_given), answers_given
    assert found == {partition: [b"before", b"after"] for partition in range(3)}
