"""A Kafka broker for the tests: one for the session, and a fresh namespace for each test.

With MESHLINE_TEST_KAFKA=host:port that broker is used instead of one of our own.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator

import pytest
from deploy.kafka.broker import COMES_BACK_SOON, KafkaBroker, missing_tools

__all__ = ["KafkaBroker", "kafka_address", "kafka_broker", "kafka_servers"]


RIGHTS = """\
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
allow.everyone.if.no.acl.found=true
super.users=User:nobody
"""
"""Anybody may do anything, but where a test says who may not."""


def new_broker(folder: pytest.TempPathFactory, properties: str = "") -> KafkaBroker:
    """Return a broker that runs; skip the test, loudly, where there can be none."""
    if (missing := missing_tools()) is not None:
        pytest.skip(f"No Kafka broker here: {missing}")
    broker = KafkaBroker(folder.mktemp("kafka", numbered=True), properties=properties)
    # All it needs is here, so that it does not start is a failure and no reason to skip.
    broker.start()
    return broker


@pytest.fixture(scope="session")
def kafka_servers(request: pytest.FixtureRequest) -> str:
    """``host:port`` of the broker that the tests share. Never stop it."""
    given = os.environ.get("MESHLINE_TEST_KAFKA")
    if given:
        return given
    broker: KafkaBroker = request.getfixturevalue("_shared_kafka_broker")
    return broker.address


@pytest.fixture(scope="session")
def _shared_kafka_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaBroker]:
    broker = new_broker(tmp_path_factory, RIGHTS)
    yield broker
    broker.kill()


@pytest.fixture(scope="session")
def _fragile_kafka_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaBroker]:
    broker = new_broker(tmp_path_factory, COMES_BACK_SOON)
    yield broker
    broker.kill()


@pytest.fixture
def kafka_broker(request: pytest.FixtureRequest) -> Iterator[KafkaBroker]:
    """A broker to stop, kill, pause and restart at will; it runs again for the next test.

    It is not the one that other tests share, and never one given by MESHLINE_TEST_KAFKA.
    """
    if os.environ.get("MESHLINE_TEST_KAFKA"):
        pytest.skip("MESHLINE_TEST_KAFKA names a broker, and this test must kill one")
    broker: KafkaBroker = request.getfixturevalue("_fragile_kafka_broker")
    if not broker.running:
        broker.start()
    yield broker
    if broker.running:
        broker.resume()
    else:
        broker.start()


@pytest.fixture
def kafka_address(kafka_servers: str) -> str:
    """The address of a log that is not there yet."""
    return f"kafka://{kafka_servers}/test-{uuid.uuid4().hex[:12]}"


@pytest.fixture
def fragile_kafka_address(kafka_broker: KafkaBroker) -> str:
    """As ``kafka_address``, but on the broker that this test may kill."""
    return f"kafka://{kafka_broker.address}/test-{uuid.uuid4().hex[:12]}"
