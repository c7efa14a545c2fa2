"""Logs as a keeper would write them, from a seed: every kind of fact, epochs, void facts."""

from __future__ import annotations

import random
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from meshline.events import facts, requests
from meshline.events.codec import encode
from meshline.events.envelope import Actor, Event
from meshline.events.ids import causation_of, exception_id_of, partition_of, run_id_of
from meshline.events.log import Accepted, Entry
from meshline.events.log.memory import MemoryLog

__all__ = ["Stream", "fill", "new_log", "write"]

START = datetime(2026, 3, 1, 8, tzinfo=UTC)
OWNERS = ["team:emea", "team:apac", "user:ada", "user:bob", "queue:triage"]
Story = Generator[None, None, None]


@dataclass
class Partition:
    """What a keeper knows of its partition; the first record, LogCreated, is the log's own."""

    number: int
    next_offset: int = 1
    epoch: int = -1
    sequence: int = 0
    old_epochs: list[int] = field(default_factory=list)


class Stream:
    """Collects the entries of a log in the order in which they are appended."""

    def __init__(self, seed: int = 0, partitions: int = 2) -> None:
        self.random = random.Random(seed)
        self.partitions = [Partition(number) for number in range(partitions)]
        self.entries: list[tuple[int, Entry]] = []
        self.now = START
        self.void = 0
        for partition in self.partitions:
            self.claim(partition)

    # -- single records ------------------------------------------------------------------------

    def put(self, partition: Partition, event: Event[Any]) -> int:
        self.entries.append((partition.number, Entry(event.subject, encode(event))))
        partition.next_offset += 1
        return partition.next_offset - 1

    def raw(self, number: int, key: str, value: bytes) -> int:
        """Put bytes that no keeper would write."""
        self.entries.append((number, Entry(key, value)))
        self.partitions[number].next_offset += 1
        return self.partitions[number].next_offset - 1

    def of(self, run_id: str) -> Partition:
        return self.partitions[partition_of(run_id, len(self.partitions))]

    def event(
        self, subject: str, data: Any, time: datetime | None = None, **more: Any
    ) -> Event[Any]:
        self.now += timedelta(milliseconds=self.random.randrange(1, 2_000))
        return Event(
            id=f"r{len(self.entries)}",
            source="test",
            subject=subject,
            time=time or self.now,
            data=data,
            recorded_at=self.now,
            **more,
        )

    def claim(self, partition: Partition) -> None:
        if partition.epoch >= 0:
            partition.old_epochs.append(partition.epoch)
        event = self.event("", facts.PartitionClaimed(keeper="k", reducer_version=1))
        partition.epoch = self.put(partition, event)
        partition.sequence = 0

    def ask(self, run_id: str, data: Any, time: datetime | None = None) -> str:
        """Append a request; return what its answers name as their cause."""
        partition = self.of(run_id)
        actor = Actor("user", "user:ada")
        offset = self.put(partition, self.event(run_id, data, time, actor=actor))
        return causation_of(partition.number, offset)

    def say(
        self,
        run_id: str,
        data: Any,
        cause: str | None = None,
        *,
        time: datetime | None = None,
        partition: Partition | None = None,
    ) -> int:
        """Append a fact, and now and then one beside it that is void."""
        partition = partition or self.of(run_id)
        event = self.event(run_id, data, time, causation_id=cause, actor=Actor("rule", "route"))
        partition.sequence += 1
        numbered = event.numbered(partition.epoch, partition.sequence, "keeper")
        chance = self.random.random()
        if chance < 0.02 and partition.old_epochs:
            self.zombie(partition, run_id, data)
        offset = self.put(partition, numbered)
        if 0.02 < chance < 0.04:
            self.void += 1
            self.put(partition, numbered)  # Sent again: the answer to the first was lost.
        elif 0.04 < chance < 0.05:
            # One append is lost, what overtook it is void, and the keeper claims again.
            self.void += 1
            self.put(partition, event.numbered(partition.epoch, partition.sequence + 2, "keeper"))
            self.claim(partition)
        return offset

    def zombie(self, partition: Partition, run_id: str, data: Any) -> None:
        self.void += 1
        epoch = self.random.choice(partition.old_epochs)
        stale = self.event(run_id, data).numbered(epoch, self.random.randrange(1, 50), "zombie")
        self.put(partition, stale._replace(causation_id="0:0"))

    # -- stories of runs -----------------------------------------------------------------------

    def started(self, number: int, *, observed: bool = False) -> tuple[str, str]:
        source, trigger_id = "web.forms", f"form-{number}"
        run_id = run_id_of(source, trigger_id)
        cause = self.ask(
            run_id,
            requests.TriggerReceived(
                source=source,
                trigger_id=trigger_id,
                trigger_type="Form",
                payload={"company": f"Company {number}", "employees": number, "é": [1.5, None]},
            ),
        )
        self.say(
            run_id,
            facts.TriggerAccepted(
                source=source,
                trigger_id=trigger_id,
                trigger_type="Form",
                payload_hash="ab",
                workflow="lead",
                version=1,
            ),
            cause,
        )
        self.say(
            run_id,
            facts.RunStarted(
                workflow="lead",
                version=1,
                trigger_id=trigger_id,
                trigger_type="Form",
                source=source,
                owner="team:revops",
                exception_route="queue:triage",
                expected_outcome="Lead",
                due_at=self.now + timedelta(days=2),
                observed=observed,
            ),
            cause,
        )
        return run_id, cause

    def step(self, run_id: str, name: str, attempt: int = 1) -> Story:
        self.say(run_id, facts.StepStarted(step=name, attempt=attempt))
        yield
        self.say(run_id, facts.StepSucceeded(step=name, attempt=attempt, result={"n": attempt}))

    def wait(self, kind: Any, about: str, owner: str = "team:revops") -> facts.Wait:
        until = self.now + timedelta(hours=1) if self.random.random() < 0.5 else None
        return facts.Wait(kind=kind, about=about, since=self.now, until=until, owner=owner)

    def plain(self, number: int) -> Story:
        run_id, cause = self.started(number)
        yield from self.step(run_id, "enrich")
        self.say(
            run_id,
            facts.OwnerAssigned(
                owner=self.random.choice(OWNERS),
                previous="team:revops",
                rule="route",
                values={"country": "DE"},
                reason="by country",
            ),
            cause,
        )
        yield from self.step(run_id, "create_lead")
        self.say(run_id, facts.RunSucceeded(outcome={"crm_id": str(number)}))

    def retried(self, number: int) -> Story:
        run_id, _ = self.started(number)
        error = requests.StepError(type="TimeoutError", message=f"no answer for {number}")
        for attempt in range(1, self.random.randrange(2, 4)):
            self.say(run_id, facts.StepStarted(step="enrich", attempt=attempt))
            yield
            self.say(run_id, facts.StepFailed(step="enrich", attempt=attempt, error=error))
            at = self.now + timedelta(seconds=3)
            self.say(
                run_id,
                facts.StepRetryScheduled(step="enrich", attempt=attempt + 1, at=at, delay_s=3.0),
            )
            self.say(run_id, facts.RunWaiting(waits=(self.wait("retry", "enrich"),)))
            yield
        yield from self.step(run_id, "enrich", 3)
        self.say(run_id, facts.RunSucceeded(outcome=None))

    def held(self, number: int) -> Story:
        run_id, _ = self.started(number)
        exception_id = exception_id_of(run_id, "step_failed", "enrich", 1)
        error = requests.StepError(type="ValueError", message="no such company", stack="…")
        self.say(run_id, facts.StepStarted(step="enrich", attempt=1))
        self.say(run_id, facts.StepFailed(step="enrich", attempt=1, error=error))
        self.say(
            run_id,
            facts.ExceptionOpened(
                exception_id=exception_id,
                workflow="lead",
                kind="step_failed",
                about="enrich",
                route="queue:triage",
                owner="queue:triage",
                severity="high",
                cause=f"enrich:ValueError:{number % 3}",
                message="no such company",
                blocking=True,
                due_at=self.now + timedelta(hours=4),
                error=error,
            ),
        )
        self.say(run_id, facts.RunHeld(waits=(self.wait("exception", exception_id),)))
        yield
        if number % 4 == 0:
            return
        cause = self.ask(
            run_id,
            requests.ExceptionActionRequested(exception_id=exception_id, action="acknowledge"),
        )
        self.say(
            run_id, facts.ExceptionAcknowledged(exception_id=exception_id, reason="mine"), cause
        )
        yield
        self.say(run_id, facts.ExceptionWorkStarted(exception_id=exception_id, reason="I ask"))
        self.say(
            run_id,
            facts.ExceptionAssigned(
                exception_id=exception_id, owner="user:bob", previous="queue:triage"
            ),
        )
        yield
        self.say(run_id, facts.ExceptionResolved(exception_id=exception_id, how="retried"))
        yield from self.step(run_id, "enrich", 2)
        self.say(run_id, facts.RunFailed(reason="no such company", error=error))

    def approved(self, number: int) -> Story:
        run_id, _ = self.started(number)
        approval = "BigDeal"
        self.say(
            run_id,
            facts.ApprovalRequested(
                approval=approval,
                workflow="lead",
                by="role:sales-lead",
                owner="team:sales",
                due_at=self.now + timedelta(hours=4),
                escalate_to="team:sales-directors",
                form_schema={"type": "object"},
            ),
        )
        self.say(run_id, facts.RunWaiting(waits=(self.wait("approval", approval),)))
        yield
        if number % 3 == 0:
            self.say(
                run_id,
                facts.ApprovalEscalated(
                    approval=approval, previous="team:sales", owner="team:sales-directors"
                ),
            )
            yield
        if number % 5 == 0:
            self.say(run_id, facts.ApprovalExpired(approval=approval))
            cause = self.ask(run_id, requests.CancelRequested(reason="too late"))
            self.say(run_id, facts.RunCancelled(reason="too late"), cause)
            return
        cause = self.ask(run_id, requests.ApprovalSubmitted(approval=approval, decision="approved"))
        if number % 7 == 0:
            self.say(
                run_id,
                facts.RequestRejected(request="ApprovalSubmitted", code="forbidden", reason="no"),
                cause,
            )
            return
        if number % 2:
            self.say(
                run_id,
                facts.ApprovalApproved(approval=approval, by="user:ada", form={"discount": 5}),
                cause,
            )
        else:
            self.say(
                run_id,
                facts.ApprovalDenied(approval=approval, by="user:ada", reason="too big"),
                cause,
            )
            self.say(run_id, facts.StepSkipped(step="create_lead", why="denied"))
        yield
        self.say(run_id, facts.RunSucceeded(outcome=[1, "two", None]))

    def paused(self, number: int) -> Story:
        run_id, _ = self.started(number)
        cause = self.ask(run_id, requests.PauseRequested(reason="holiday"))
        until = self.now + timedelta(days=1) if number % 2 else None
        self.say(run_id, facts.RunPaused(reason="holiday", until=until), cause)
        yield
        self.say(run_id, facts.StepStarted(step="enrich", attempt=1))
        self.say(run_id, facts.StepSucceeded(step="enrich", attempt=1))
        yield
        self.say(run_id, facts.RunResumed(reason="back"))
        self.say(run_id, facts.TimerSet(timer="nap", at=self.now))
        self.say(run_id, facts.RunWaiting(waits=(self.wait("timer", "nap"),)))
        yield
        self.say(run_id, facts.TimerFired(timer="nap"))
        self.say(
            run_id,
            facts.CompensationStarted(then="cancelled", reason="not wanted", steps=("enrich",)),
        )
        yield from self.step(run_id, "undo:enrich")
        self.say(run_id, facts.RunCancelled(reason="not wanted"))

    def observed(self, number: int) -> Story:
        run_id, _ = self.started(number, observed=True)
        for activity in range(self.random.randrange(1, 8)):
            time = START - timedelta(days=400) + timedelta(hours=self.random.randrange(200))
            cause = self.ask(run_id, requests.ActivityReported(activity="moved", payload={}), time)
            waits = (self.wait("outside", "vendor"),) if activity % 3 == 1 else ()
            self.say(
                run_id,
                facts.ActivityRecorded(activity="moved", waits=waits, memo=activity),
                cause,
                time=time,
            )
            if self.random.random() < 0.6:
                self.say(
                    run_id,
                    facts.OwnerAssigned(
                        owner=self.random.choice(OWNERS[:2]),
                        assignee=self.random.choice([None, "user:ada", "user:bob"]),
                    ),
                    cause,
                    time=time,
                )
            if activity == 3:
                self.say(run_id, facts.RunSucceeded(outcome="closed"), cause, time=time)
                yield
                self.say(run_id, facts.RunReopened(reason="not solved"), time=time)
            yield

    def refused(self, number: int) -> Story:
        run_id = run_id_of("web.forms", f"bad-{number}")
        received = requests.TriggerReceived(
            source="web.forms", trigger_id=f"bad-{number}", payload={"employees": "many"}
        )
        cause = self.ask(run_id, received)
        self.say(
            run_id,
            facts.TriggerRejected(
                source="web.forms",
                trigger_id=f"bad-{number}",
                trigger_type="Form",
                code="invalid",
                reason="1 problem",
                problems=(facts.FieldProblem(pointer="/employees", message="no number"),),
            ),
            cause,
        )
        yield

    def repeated(self, number: int) -> Story:
        run_id, _ = self.started(number)
        yield
        received = requests.TriggerReceived(source="web.forms", trigger_id=f"form-{number}")
        cause = self.ask(run_id, received)
        self.say(
            run_id,
            facts.TriggerDeduplicated(
                source="web.forms", trigger_id=f"form-{number}", trigger_type="Form"
            ),
            cause,
        )
        self.ask(run_id, received)  # Not answered yet.

    def register(self) -> None:
        for partition in self.partitions:
            spec = {"name": "lead", "trigger": {"type": "Form"}, "owner": "team:revops"}
            self.say(
                "",
                facts.WorkflowRegistered(workflow="lead", version=1, spec_hash="cafe", spec=spec),
                partition=partition,
            )

    def tell(self, runs: int, open_at_once: int = 12) -> Stream:
        """Tell the stories of so many runs, some of them at a time."""
        stories: list[Callable[[int], Story]] = [
            self.plain,
            self.plain,
            self.retried,
            self.held,
            self.approved,
            self.paused,
            self.observed,
            self.refused,
            self.repeated,
        ]
        going: list[Story] = []
        for number in range(runs):
            going.append(self.random.choice(stories)(number))
            while len(going) >= open_at_once or (number == runs - 1 and going):
                story = self.random.choice(going)
                if next(story, "over") == "over":
                    going.remove(story)
                if self.random.random() < 0.01:
                    self.claim(self.random.choice(self.partitions))
        return self


def write(seed: int, runs: int, partitions: int = 2) -> Stream:
    stream = Stream(seed, partitions)
    stream.register()
    return stream.tell(runs)


async def new_log(partitions: int = 2) -> MemoryLog:
    log = MemoryLog()
    await log.open(create_partitions=partitions)
    return log


async def fill(log: Any, entries: list[tuple[int, Entry]], batch: int = 500) -> None:
    """Append the entries, each partition in its order."""
    waiting: dict[int, list[Entry]] = {}
    for partition, entry in entries:
        some = waiting.setdefault(partition, [])
        some.append(entry)
        if len(some) >= batch:
            assert isinstance(await log.append(partition, waiting.pop(partition)), Accepted)
    for partition, some in waiting.items():
        assert isinstance(await log.append(partition, some), Accepted)
