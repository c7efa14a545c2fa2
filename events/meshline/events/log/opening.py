"""The first record of every partition: it says which log this is and how it is laid out."""

from __future__ import annotations

from meshline.events.codec import decode, encode
from meshline.events.envelope import Event
from meshline.events.errors import LogIdentityChanged
from meshline.events.facts import LogCreated
from meshline.events.ids import new_event_id
from meshline.events.log.protocol import Entry, LogIdentity

__all__ = ["identity_of", "log_created"]


def log_created(identity: LogIdentity, partition: int, event_id: str | None = None) -> Entry:
    """Return the record that a new log's partition begins with; None: with a new id."""
    event = Event(
        id=event_id or new_event_id(),
        source="meshline",
        subject="",
        time=identity.created_at,
        data=LogCreated(
            log_id=identity.log_id, partition=partition, partitions=identity.partitions
        ),
        recorded_at=identity.created_at,
    )
    return Entry("", encode(event))


def identity_of(first_record: bytes) -> LogIdentity:
    """Return the identity that a partition's first record tells.

    Raises:
        LogIdentityChanged: the record is something else: the partition's beginning is lost, or
            it never was a log of Meshline.
    """
    event = decode(first_record)
    if not isinstance(event.data, LogCreated):
        raise LogIdentityChanged(
            f"The partition begins with {type(event.data).__name__}: expected LogCreated. Its "
            "beginning was deleted (check retention), or this is no log of Meshline."
        )
    return LogIdentity(event.data.log_id, event.data.partitions, event.time)
