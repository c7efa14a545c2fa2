"""The log that ``rebuild.py`` builds views from.

Runs of 10 to 16 events, one in eight with an exception, 200 at a time in each partition.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from meshline.events import facts, requests
from meshline.events.codec import encode
from meshline.events.envelope import Actor, Event
from meshline.events.ids import run_id_of
from meshline.events.log import Accepted, Entry, EventLog

__all__ = ["PARTITIONS", "START", "entries_of", "fill"]

PARTITIONS = 8
OPEN_RUNS = 200
START = datetime(2026, 3, 1, 8, tzinfo=UTC)
RUN, EPOCH, SEQUENCE = run_id_of("bench", "0"), 12_345_678_987, 98_765_432_123


def story(is_held: bool) -> list[bytes]:
    """Return one run's events, with a placeholder for its id and its numbers."""
    source = {"source": "web.forms", "trigger_id": RUN, "trigger_type": "Form"}
    received = requests.TriggerReceived(**source, payload={"company": "Acme", "employees": 12})
    said: list[Any] = [
        facts.TriggerAccepted(**source, payload_hash="ab", workflow="lead", version=1),
        facts.RunStarted(
            **source,
            workflow="lead",
            version=1,
            owner="team:revops",
            exception_route="queue:triage",
            expected_outcome="Lead",
            due_at=START + timedelta(days=2),
        ),
        facts.StepStarted(step="enrich", attempt=1),
    ]
    if is_held:
        error = requests.StepError(type="ValueError", message="no such company")
        exception_id = f"x-{RUN}"
        said += [
            facts.StepFailed(step="enrich", attempt=1, error=error),
            facts.ExceptionOpened(
                exception_id=exception_id,
                workflow="lead",
                kind="step_failed",
                about="enrich",
                route="queue:triage",
                owner="queue:triage",
                severity="high",
                cause="enrich:ValueError",
                message="no such company",
                blocking=True,
                due_at=START + timedelta(hours=4),
                error=error,
            ),
            facts.ExceptionAssigned(
                exception_id=exception_id, owner="user:bob", previous="queue:triage"
            ),
            facts.ExceptionResolved(exception_id=exception_id, how="retried"),
            facts.StepStarted(step="enrich", attempt=2),
        ]
    said += [
        facts.StepSucceeded(step="enrich", attempt=1, result={"size": 12}),
        facts.OwnerAssigned(
            owner="team:emea", previous="team:revops", rule="route", values={}, reason="by country"
        ),
        facts.StepStarted(step="create_lead", attempt=1),
        facts.StepSucceeded(step="create_lead", attempt=1, result={"id": 7}),
        facts.RunSucceeded(outcome={"crm_id": "7"}),
    ]
    events = [_event(received, 0)]
    events += [
        _event(data, n).numbered(EPOCH, SEQUENCE, "keeper") for n, data in enumerate(said, 1)
    ]
    return [encode(event) for event in events]


def _event(data: Any, number: int) -> Event[Any]:
    moment = START + timedelta(seconds=number)
    return Event(
        id=f"{RUN}-{number}",
        source="bench",
        subject=RUN,
        time=moment,
        data=data,
        recorded_at=moment,
        actor=Actor("rule", "route"),
    )


def entries_of(partition: int, count: int, epoch: int) -> Iterator[Entry]:
    """Give a partition's events: some runs at a time, one event of each in turn."""
    stories = [story(True), *[story(False)] * 7]
    sequence = given = batch = 0
    while given < count:
        runs = [
            (run_id_of("bench", f"{partition}-{batch}-{n}"), stories[n % 8])
            for n in range(OPEN_RUNS)
        ]
        batch += 1
        for place in range(max(map(len, stories))):
            for run_id, events in runs:
                if place >= len(events) or given >= count:
                    continue
                value = events[place].replace(RUN.encode(), run_id.encode())
                if place:
                    sequence += 1
                    value = value.replace(b"%d" % EPOCH, b"%d" % epoch)
                    value = value.replace(b"%d" % SEQUENCE, b"%d" % sequence)
                given += 1
                yield Entry(run_id, value)


async def fill(log: EventLog, events: int) -> None:
    async def one(partition: int) -> None:
        claim = facts.PartitionClaimed(keeper="keeper", reducer_version=1)
        moment = START - timedelta(days=1)
        event = Event(
            id=f"claim-{partition}",
            source="bench",
            subject="",
            time=moment,
            data=claim,
            recorded_at=moment,
        )
        answer = await log.append(partition, [Entry("", encode(event))])
        assert isinstance(answer, Accepted), answer
        waiting: list[Entry] = []
        for entry in entries_of(partition, events // PARTITIONS, answer.first):
            waiting.append(entry)
            if len(waiting) == 500:
                assert isinstance(await log.append(partition, waiting, deadline_s=60), Accepted)
                waiting = []
        if waiting:
            assert isinstance(await log.append(partition, waiting, deadline_s=60), Accepted)

    await asyncio.gather(*(one(partition) for partition in range(PARTITIONS)))
