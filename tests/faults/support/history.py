"""What clients were told, held against what the log says in the end, as Jepsen does.

An operation ended `ok`, `fail` or `unknown`; one without an end is unknown too: its client was
killed. What was `ok` is there, as one event; what was `fail` is not; the others may be either.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import orjson

from meshline.events import facts
from meshline.events.codec import decode
from meshline.events.errors import EventUnreadable
from tests.acceptance.support.audit import Audit

__all__ = ["Operation", "answered_in", "check_history", "history_of"]


@dataclass
class Operation:
    about: str
    said: Literal["ok", "fail", "unknown"] = "unknown"
    position: tuple[int, int] | None = None
    status: str = ""


def _lines(file: Path) -> list[dict[str, Any]]:
    return [orjson.loads(line) for line in file.read_bytes().splitlines()] if file.exists() else []


def answered_in(file: Path) -> set[str]:
    """What was answered `ok`, to a client that starts again."""
    return {op.about for op in history_of([file]).values() if op.said == "ok"}


def history_of(files: Iterable[Path]) -> dict[str, Operation]:
    """By the id of each operation, what came of it."""
    operations: dict[str, Operation] = {}
    for line in (line for file in files for line in _lines(file)):
        if line["said"] == "begin":
            operations[line["op"]] = Operation(line["about"])
            continue
        operation = operations[line["op"]]
        operation.said = line["said"]
        if operation.said == "ok":
            operation.position = (line["position"][0], line["position"][1])
            operation.status = line["status"]
    return operations


def check_history(operations: dict[str, Operation], found: Audit) -> Counter[str]:
    """Hold every operation against the log, and return how many ended how.

    A copy that the log holds of an append without an answer has the same event id: it is the same
    event, and counts once.
    """
    at: dict[str, list[tuple[int, int]]] = defaultdict(list)
    events: dict[str, set[str]] = defaultdict(set)
    accepted: Counter[str] = Counter()
    for partition, records in found.records.items():
        for record in records:
            try:
                event = decode(record.value)
            except EventUnreadable:
                continue
            if event.correlation_id in operations and not event.is_fact:
                at[event.correlation_id].append((partition, record.offset))
                events[event.correlation_id].add(event.id)
    void = {(record.partition, record.offset) for record, _ in found.void}
    for partition, records in found.records.items():
        for record in records:
            if (partition, record.offset) in void or b"trigger.accepted" not in record.value:
                continue
            event = decode(record.value)
            if isinstance(event.data, facts.TriggerAccepted):
                accepted[f"order {event.data.trigger_id}"] += 1
    for name, operation in operations.items():
        if operation.said == "ok":
            assert operation.position in at[name], f"{name} was ok: {operation}, found {at[name]}"
            assert len(events[name]) == 1, f"{name} is several events: {events[name]}"
        elif operation.said == "fail":
            assert at[name] == [], f"{name} failed, and is in the log: {operation}, {at[name]}"
        if operation.about.startswith("order") and at[name]:
            assert accepted[operation.about] == 1, f"{name}: {operation}"
    return Counter(operation.said for operation in operations.values())
