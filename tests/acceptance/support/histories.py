"""Real histories through Meshline: published as a ticket system would, and read from the views."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any

from meshline.events import Publisher, Trigger
from meshline.events.envelope import Actor
from meshline.events.ids import run_id_of
from meshline.events.log import EventLog
from meshline.events.requests import ActivityReported
from meshline.workflow import Activity, ObservedWorkflow
from tests.acceptance.support.reference import Case, Line

__all__ = ["Feed", "History", "Published", "publish"]

ACTOR = Actor("service", "service:importer")
CHUNK = 2_000
ANSWER_S = 60.0


@dataclass(frozen=True)
class History:
    """One real history: the workflow that observes it, and what its file says."""

    workflow: ObservedWorkflow
    convert: Callable[[Line], tuple[dict[str, Any], list[Activity]]]
    read: Callable[[Line], Case]
    lines: list[Line]

    @property
    def source(self) -> str:
        return self.workflow.spec.source

    @cached_property
    def run_ids(self) -> list[str]:
        """Of the lines, in their order."""
        return [run_id_of(self.source, line["case"]) for line in self.lines]

    @cached_property
    def cases(self) -> dict[str, Case]:
        """What the file says, by run id."""
        return {
            run_id: self.read(line) for run_id, line in zip(self.run_ids, self.lines, strict=True)
        }

    @cached_property
    def converted(self) -> list[tuple[str, dict[str, Any], list[Activity]]]:
        """Run id, trigger and activities of each line."""
        return [
            (run_id, *self.convert(line))
            for run_id, line in zip(self.run_ids, self.lines, strict=True)
        ]

    @property
    def activities(self) -> int:
        return sum(len(line["events"]) for line in self.lines)


@dataclass
class Published:
    """What was answered: triggers by status. Activities are only appended."""

    triggers: Counter[str]
    activities: int


async def publish(log: EventLog, history: History) -> Published:
    """Publish all triggers and then all activities; the same ids each time."""
    async with Publisher(log, actor=ACTOR) as publisher:
        statuses = [
            answer.status
            async for answer in publisher.publish_many(_triggers(history), wait_s=ANSWER_S)
        ]
        appended = 0
        pending: list[asyncio.Task[Any]] = []
        for run_id, event_id, at, activity in _reports(history):
            report = _report(publisher, run_id, event_id, at, activity)
            pending.append(asyncio.create_task(report))
            if len(pending) >= CHUNK:
                appended += len(await asyncio.gather(*pending))
                pending.clear()
        appended += len(await asyncio.gather(*pending))
    return Published(Counter(statuses), appended)


def _triggers(history: History) -> Iterable[Trigger]:
    for _, payload, activities in history.converted:
        at = datetime.fromisoformat(activities[0].time)
        yield Trigger(history.source, payload, payload["case"], time=at)


Report = tuple[str, str, datetime, Activity]


def _reports(history: History) -> Iterable[Report]:
    for case in history.converted:
        yield from _reports_of(*case)


def _reports_of(
    run_id: str, payload: dict[str, Any], activities: list[Activity]
) -> Iterable[Report]:
    for number, activity in enumerate(activities):
        event_id = f"{payload['case']}/{number}"
        yield run_id, event_id, datetime.fromisoformat(activity.time), activity


def _report(
    publisher: Publisher, run_id: str, event_id: str, at: datetime, activity: Activity
) -> Coroutine[Any, Any, Any]:
    reported = ActivityReported(activity=activity.name, payload=activity.payload)
    return publisher.request(run_id, reported, actor=ACTOR, event_id=event_id, time=at)


@dataclass
class Feed:
    """A history that comes in at a steady rate, case after case, until it is stopped."""

    history: History
    lines: list[Line] = field(default_factory=list)
    requests: int = 0

    async def run(self, publisher: Publisher, per_s: float, stop: asyncio.Event) -> None:
        """Publish; ``lines`` are the cases so far, the last one as far as it was published."""
        loop = asyncio.get_running_loop()
        started = loop.time()
        source = self.history.source
        async with asyncio.TaskGroup() as asked:
            for line, case in zip(self.history.lines, self.history.converted, strict=True):
                run_id, payload, activities = case
                first = datetime.fromisoformat(activities[0].time)
                trigger = publisher.publish(source, payload, trigger_id=payload["case"], time=first)
                reports = (_report(publisher, *r) for r in _reports_of(run_id, payload, activities))
                self.lines.append({**line, "events": []})
                for number, request in enumerate([trigger, *reports]):
                    # A case without an activity would be none that the file can tell of.
                    if stop.is_set() and number > 1:
                        request.close()
                        continue
                    await asyncio.sleep(max(0.0, started + self.requests / per_s - loop.time()))
                    asked.create_task(request)
                    self.requests += 1
                    self.lines[-1]["events"] = line["events"][:number]
                if stop.is_set():
                    return
        raise AssertionError(f"no more cases after {self.requests} requests")
