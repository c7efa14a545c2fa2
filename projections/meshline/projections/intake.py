"""From records to what views are handed: each one read once, and what is void left out.

A record whose type no view wants is not decoded: its first bytes tell its type and its number,
which is all that the fence needs.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import orjson
from pydantic import BaseModel

from meshline.events.catalogue import CATALOGUE
from meshline.events.codec import decode, numbers_of
from meshline.events.envelope import Position, Recorded
from meshline.events.errors import EventUnreadable, EventVersionUnknown, PositionLost
from meshline.events.facts import (
    LogCreated,
    ParkedEventRetried,
    ParkedEventSkipped,
    PartitionClaimed,
)
from meshline.events.fence import Fence
from meshline.events.log import LogRecord
from meshline.events.requests import Request
from meshline.projections.store import Checkpoint

__all__ = ["FREEING", "Intake", "Item", "Undecodable", "event_id_of", "subject_of"]

FREEING = frozenset({ParkedEventRetried, ParkedEventSkipped})
"""Facts that are said to the views themselves; every view is handed them."""

# How our own codec begins every event. Quotes inside a string are escaped, so nothing that a
# client chose can look like the end of one. What does not match is read in full instead.
_TYPE = re.compile(rb'\{"specversion":"1\.0","id":"[^"\\]*","source":"[^"\\]*","type":"([^"\\]*)",')
_REST = re.compile(
    rb'(?:"subject":"[^"\\]*",)?"time":"[^"\\]*",(?:"epoch":"(\d+)","sequence":"(\d+)",)?'
)
_CLAIM = f"{PartitionClaimed.TYPE}.v"


class Undecodable(NamedTuple):
    """A record that counts, but that this program can't read.

    ``stops``: it is a fact, so the rows of its run would be wrong without it.
    """

    position: Position
    entity: str
    event_type: str
    error: str
    stops: bool


Item = Recorded[Any] | Undecodable


def _envelope_of(value: bytes) -> dict[str, Any]:
    try:
        envelope = orjson.loads(value)
    except orjson.JSONDecodeError:
        return {}
    return envelope if isinstance(envelope, dict) else {}


def event_id_of(value: bytes) -> str:
    """Return the id of the event, or of the bytes where they hold none."""
    event_id = _envelope_of(value).get("id")
    if isinstance(event_id, str) and event_id:
        return event_id
    return "bytes:" + hashlib.blake2b(value, digest_size=8).hexdigest()


def subject_of(value: bytes, key: str) -> str:
    """Return what a record is about, even of one that can't be read: its key, if it says nothing.

    Args:
        key: of the record.
    """
    subject = _envelope_of(value).get("subject")
    return subject if isinstance(subject, str) else key


class Intake:
    """Takes records in the order of the log, and gives what counts and is wanted.

    Args:
        start: where each partition is read from, with its fence.
        wanted: the classes that some view handles.
    """

    def __init__(self, start: Mapping[int, Checkpoint], wanted: Iterable[type[BaseModel]]) -> None:
        # Claims move the fence. An older version's name is not in the catalogue, and so is read.
        self._wanted = frozenset(wanted) | FREEING
        read = {*self._wanted, PartitionClaimed, LogCreated}
        unwanted = {name.encode(): c for name, c in CATALOGUE.items() if c not in read}
        self._unwanted = frozenset(unwanted)
        self._requests = {name for name, c in unwanted.items() if issubclass(c, Request)}
        self._fences = {p: Fence(c.epoch, c.sequence) for p, c in start.items()}
        self._next = {p: c.offset for p, c in start.items()}

    def take(self, records: list[LogRecord]) -> list[Item]:
        """Return what counts of one partition's next records.

        Raises:
            PositionLost: they do not follow on what was taken before.
            EventVersionUnknown: a claim is newer than this program, which so can't tell what
                counts after it.
        """
        partition = records[0].partition
        if records[0].offset != self._next[partition]:
            raise PositionLost(
                f"Partition {partition} goes on at {records[0].offset}: expected "
                f"{self._next[partition]}. Part of the log is missing: restore it, then restart."
            )
        fence = self._fences[partition]
        wanted, unwanted, type_of, new = self._wanted, self._unwanted, _TYPE.match, tuple.__new__
        items: list[Item] = []
        for _, offset, key, value, _ in records:
            found = type_of(value)
            if found is not None and found[1] in unwanted and self._is_passed(found, fence, offset):
                continue
            position = new(Position, (partition, offset))
            try:
                event = decode(value, position)
            except (EventUnreadable, EventVersionUnknown) as error:
                undecodable = _undecodable(position, key, value, fence, error)
                if undecodable is not None:
                    items.append(undecodable)
                continue
            if fence.admits(event, offset) and event.data.__class__ in wanted:
                items.append(new(Recorded, (event, position)))
        self._next[partition] = records[-1].offset + 1
        return items

    def _is_passed(self, head: re.Match[bytes], fence: Fence, offset: int) -> bool:
        """Let the fence see a record of no interest; return False if it has to be read for that."""
        rest = _REST.match(head.string, head.end())
        if rest is None:
            return False
        if head[1] in self._requests:
            return True
        epoch, sequence = rest.groups()
        if epoch is None:
            return False
        fence.admits_numbers(int(epoch), int(sequence))
        return True

    def checkpoint(self, last: LogRecord) -> Checkpoint:
        """Return where the partition of the last record taken goes on."""
        fence = self._fences[last.partition]
        return Checkpoint(
            offset=last.offset + 1,
            epoch=fence.epoch,
            sequence=fence.sequence,
            event_id=event_id_of(last.value),
            recorded_ms=last.appended_ms,
        )


def _undecodable(
    position: Position,
    key: str,
    value: bytes,
    fence: Fence,
    error: EventUnreadable | EventVersionUnknown,
) -> Undecodable | None:
    envelope = _envelope_of(value)
    event_type = envelope.get("type")
    event_type = event_type if isinstance(event_type, str) else ""
    if isinstance(error, EventVersionUnknown) and event_type.startswith(_CLAIM):
        raise error
    numbers = numbers_of(value)
    # It counts in the numbering, or all behind it would be void.
    if numbers is not None and not fence.admits_numbers(*numbers):
        return None
    return Undecodable(
        position=position,
        entity=subject_of(value, key),
        event_type=event_type,
        error=str(error),
        stops=numbers is not None,
    )
