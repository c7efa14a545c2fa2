"""What --source-topic says, and what it can't."""

from __future__ import annotations

import pytest

from meshline.cli.errors import CommandRefused
from meshline.cli.sources import SourceTopic, brokers_of, source_topic


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("forms", SourceTopic("forms", None, {})),
        ("forms=web.forms", SourceTopic("forms", "web.forms", {})),
        (
            "crm.orders=shop,id=order.number,type=OrderPlaced",
            SourceTopic("crm.orders", "shop", {"id_field": "order.number", "type": "OrderPlaced"}),
        ),
        ("t=s,type_field=kind", SourceTopic("t", "s", {"type_field": "kind"})),
    ],
)
def test_a_topic_its_source_and_how_it_is_read(text: str, expected: SourceTopic) -> None:
    assert source_topic(text) == expected


@pytest.mark.parametrize(
    "text", ["", "=s", "t=", "t,id=x", "t=s,id", "t=s,id=", "t=s,color=red", "t=s,id=a,id=b", " t"]
)
def test_what_cannot_be_understood_is_refused_with_the_form(text: str) -> None:
    with pytest.raises(CommandRefused, match="TOPIC=SOURCE"):
        source_topic(text)


def test_the_brokers_are_those_of_the_log_unless_others_are_named() -> None:
    assert brokers_of("kafka://a:9092,b:9092/production", None) == "a:9092,b:9092"
    assert brokers_of("kafka://a:9092/production", "c:9092") == "c:9092"
    assert brokers_of("postgresql://db/meshline", "c:9092") == "c:9092"
    with pytest.raises(CommandRefused, match="--source-brokers"):
        brokers_of("postgresql://db/meshline", None)
