"""How a consumer group shares the partitions: evenly, and moving as few as possible.

Each member tells what it held until now; the group's leader shares with that. (aiokafka's own
sticky assignor keeps this in its class, where two members in one process overwrite each other's.)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import orjson
from aiokafka.coordinator.assignors.abstract import AbstractPartitionAssignor
from aiokafka.coordinator.protocol import (
    ConsumerProtocolMemberAssignment,
    ConsumerProtocolMemberMetadata,
)

from meshline.events.log.sharing import share

__all__ = ["Held", "assignor_of"]

VERSION = 0


class Held(NamedTuple):
    """What a member was given last, and when (milliseconds, Unix)."""

    partitions: frozenset[int]
    since_ms: int


def assignor_of(held: Callable[[], Held]) -> type[AbstractPartitionAssignor]:
    """Return an assignor for one member; aiokafka takes a class, and asks it without an object."""

    class Assignor(AbstractPartitionAssignor):  # type: ignore[misc]  # aiokafka is not typed
        name = "meshline-sticky"

        @classmethod
        def metadata(cls, topics: Iterable[str]) -> Any:
            partitions, since_ms = held()
            told = orjson.dumps([since_ms, *sorted(partitions)])
            return ConsumerProtocolMemberMetadata(VERSION, list(topics), told)

        @classmethod
        def assign(cls, cluster: Any, members: Mapping[str, Any]) -> dict[str, Any]:
            [topic] = {topic for member in members.values() for topic in member.subscription}
            partitions = len(cluster.partitions_for_topic(topic) or ())
            told = {member: _told(metadata.user_data) for member, metadata in members.items()}
            shared = share(partitions, _holders(told), sorted(members))
            given: dict[str, list[int]] = {member: [] for member in members}
            for partition, member in shared.items():
                given[member].append(partition)
            return {
                member: ConsumerProtocolMemberAssignment(
                    VERSION, [(topic, mine)] if mine else [], b""
                )
                for member, mine in given.items()
            }

        @classmethod
        def on_assignment(cls, assignment: Any) -> None:
            """The listener is told."""

    return Assignor


def _told(user_data: bytes) -> Held:
    since_ms, *partitions = orjson.loads(user_data)
    return Held(frozenset(partitions), since_ms)


def _holders(told: Mapping[str, Held]) -> dict[int, str]:
    """Return by partition who was given it last: one that was frozen still believes in its own."""
    holders: dict[int, str] = {}
    for member, held in sorted(told.items(), key=lambda item: item[1].since_ms):
        holders.update(dict.fromkeys(held.partitions, member))
    return holders
