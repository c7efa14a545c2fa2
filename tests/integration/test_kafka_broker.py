"""The broker that the tests run against can be killed, paused and restarted."""

from __future__ import annotations

import pytest
from deploy.kafka.broker import answers

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
