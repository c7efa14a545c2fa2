"""Identities: run ids that follow from the trigger, partitions that follow from the run id."""

from __future__ import annotations

import hashlib
import os
import uuid
from typing import Any

import orjson

from meshline.events.clock import unix_ms

__all__ = [
    "RUN_NAMESPACE",
    "causation_of",
    "exception_id_of",
    "new_event_id",
    "partition_of",
    "payload_hash_of",
    "position_of",
    "run_id_of",
]

RUN_NAMESPACE = uuid.UUID("6d657368-6c69-5e65-8000-72756e000000")
"""Fixed for ever: with another value the same trigger would become another run."""

_SEPARATOR = "\x1f"


def run_id_of(source: str, trigger_id: str) -> str:
    """Return the id of the run that the trigger (source, id) is and can only ever be.

    UUIDv5 of both, so that publishing a trigger twice can never start two runs.
    """
    return str(uuid.uuid5(RUN_NAMESPACE, f"{source}{_SEPARATOR}{trigger_id}"))


def partition_of(key: str, partitions: int) -> int:
    """Return the partition of a key, 0 to ``partitions`` - 1; the same on every machine.

    Not Kafka's murmur2: every log computes it here, so that history can be copied between them.
    """
    digest = hashlib.blake2b(key.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") % partitions


def payload_hash_of(payload: Any) -> str:
    """Return 16 hex digits that are equal for equal JSON values, whatever the order of keys."""
    canonical = orjson.dumps(payload, option=orjson.OPT_SORT_KEYS)
    return hashlib.blake2b(canonical, digest_size=8).hexdigest()


def exception_id_of(run_id: str, kind: str, about: str, number: int) -> str:
    """Return the id of the ``number``-th exception of this kind about one thing in a run.

    Short enough to type: the run's first eight digits, and a digest of the rest. Ten digits of it,
    because a run that fans out may open thousands, and two of them must not be one.
    """
    key = _SEPARATOR.join((run_id, kind, about, str(number)))
    return f"ex-{run_id[:8]}-{hashlib.blake2b(key.encode(), digest_size=5).hexdigest()}"


def new_event_id() -> str:
    """Return a new id for a request: a UUIDv7, so that ids sort by time."""
    value = (unix_ms() & (1 << 48) - 1) << 80 | int.from_bytes(os.urandom(10), "big")
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    return str(uuid.UUID(int=value))


def causation_of(partition: int, offset: int) -> str:
    """Return the id by which a fact names the request at this position as its cause.

    The position and not the request's own id: a client may send one id twice, and each time is
    answered for itself.
    """
    return f"{partition}:{offset}"


def position_of(causation_id: str) -> tuple[int, int]:
    """Return partition and offset of the request that a causation id names."""
    partition, _, offset = causation_id.partition(":")
    return int(partition), int(offset)
