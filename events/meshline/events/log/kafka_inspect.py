"""What an operator wants to know of a log's topic: its settings and the state of its replicas."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import (
    KafkaError,
    TopicAuthorizationFailedError,
    UnknownTopicOrPartitionError,
    for_code,
)
from aiokafka.protocol.produce import ProduceRequest

from meshline.events.errors import LogUnavailable
from meshline.events.log.kafka_topic import KafkaTopic, client_options, topic_settings
from meshline.events.log.settings import LogSettings

__all__ = ["TopicState", "inspect_topic", "wanted_settings"]

TIMEOUT_S = 10.0
REPLICAS_WANTED = 3
NO_PARTITION = 2**31 - 1


@dataclass(frozen=True, slots=True)
class TopicState:
    """The topic as the brokers know it.

    Args:
        settings: as they are in force, whoever set them.
        replicas: the fewest of any partition.
        in_sync: the fewest replicas in sync of any partition.
        brokers: how many there are.
        may_append: whether this client has the right to; None: the brokers do not say.
        auto_create: ``auto.create.topics.enable`` of the first broker; None: it does not say.
    """

    name: str
    settings: dict[str, str]
    partitions: int
    replicas: int
    in_sync: int
    brokers: int
    auto_create: str | None = None
    may_append: bool | None = None


def wanted_settings(replicas: int, settings: LogSettings | None = None) -> dict[str, str]:
    """Return the settings that a log's topic must have so that nothing of it is ever lost."""
    return topic_settings(replicas, (settings or LogSettings()).batch_bytes_max)


async def inspect_topic(address: str) -> TopicState:
    """Ask the brokers about the topic of the log at ``kafka://host:port/namespace``.

    Raises:
        LogUnavailable: they did not answer.
    """
    parts = urlsplit(address)
    name = f"{parts.path.removeprefix('/')}.events"
    admin = AIOKafkaAdminClient(
        **client_options(parts.netloc), request_timeout_ms=int(TIMEOUT_S * 1000)
    )
    try:
        await admin.start()
        described = (await admin.describe_topics([name]))[0]["partitions"]
        cluster = await admin.describe_cluster()
        resource = ConfigResource(ConfigResourceType.TOPIC, name)
        responses = await admin.describe_configs([resource])
        may_append = await _may_append(parts.netloc, name)
        auto_create = await _auto_create(admin, cluster["brokers"][0]["node_id"])
    except (KafkaError, OSError, TimeoutError) as error:
        raise LogUnavailable(
            f"The brokers at {parts.netloc} did not say how topic {name!r} is set up: "
            f"{type(error).__name__}: {error}. Expected an answer: check the address and the "
            "rights to describe topics."
        ) from error
    finally:
        await admin.close()
    if not described:
        raise LogUnavailable(
            f"The brokers at {parts.netloc} say nothing of topic {name!r}: expected the right to "
            f"describe it. Grant it: kafka-acls --add --operation Describe --topic {name}"
        )
    entries = responses[0].resources[0][4]
    return TopicState(
        name=name,
        settings={entry[0]: entry[1] for entry in entries},
        partitions=len(described),
        replicas=min(len(partition["replicas"]) for partition in described),
        in_sync=min(len(partition["isr"]) for partition in described),
        brokers=len(cluster["brokers"]),
        auto_create=auto_create,
        may_append=may_append,
    )


async def _may_append(servers: str, name: str) -> bool | None:
    """Ask to append where there is no partition: whether one may is looked at before that."""
    request = ProduceRequest(None, 1, int(TIMEOUT_S * 1000), [(name, [(NO_PARTITION, b"")])])
    topic = KafkaTopic(servers, name, TIMEOUT_S)
    await topic.connect()
    try:
        answer = await topic.client.send(topic.client.get_random_node(), request)
    finally:
        await topic.aclose()
    code = answer.topics[0][1][0][1]
    if for_code(code) is UnknownTopicOrPartitionError:
        return True
    return False if for_code(code) is TopicAuthorizationFailedError else None


async def _auto_create(admin: AIOKafkaAdminClient, broker: int) -> str | None:
    """Asking a broker for its settings is a right of its own: without it nobody knows."""
    name = "auto.create.topics.enable"
    resource = ConfigResource(ConfigResourceType.BROKER, str(broker), {name: None})
    try:
        (response,) = await admin.describe_configs([resource])
    except KafkaError:
        return None
    entries = response.resources[0][4]
    return next((entry[1] for entry in entries if entry[0] == name), None)
