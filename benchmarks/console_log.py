"""The log that ``console_pages.py`` shows: many runs of every kind, and one with many events.

Of twenty runs one is held by an open exception, one waits for an answer, one was approved, one was
held and went on two days later, one had something refused; the others came through; an answer takes
six hours. Owners, sources and causes are many, and times go on from run to run.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from pydantic import BaseModel

from meshline.events import facts, requests
from meshline.events.codec import encode
from meshline.events.envelope import Actor, Event
from meshline.events.ids import run_id_of
from meshline.events.log import Accepted, Entry, EventLog
from meshline.workflow import Approval, Workflow

__all__ = ["LONG_RUN", "PARTITIONS", "fill"]

PARTITIONS = 8
SOURCES = tuple(f"web.{name}" for name in ("forms", "shop", "app", "partners"))
OWNERS = tuple(f"team:{name}" for name in ("emea", "apac", "latam", "na", "large", "revops"))
CAUSES = 400
WORKFLOW = "lead-intake"
LONG_RUN = run_id_of("web.forms", "the-long-one")
AT = datetime(2001, 1, 1, tzinfo=UTC)
DUE = datetime(2002, 1, 1, tzinfo=UTC)
RUN, SOURCE, OWNER, CAUSE = "R" * 36, "S" * 12, "O" * 12, "C" * 12
LATER = {2: (8, timedelta(hours=6)), 3: (10, timedelta(days=2))}
"""By the place of a story: from which of its events it goes on so much later."""

EPOCH, SEQUENCE = 12_345_678_987, 98_765_432_123
APPEND = 2_000


class Form(BaseModel):
    company: str
    employees: int


class Company(BaseModel):
    size: int


class Lead(BaseModel):
    crm_id: str


lead = Workflow(
    WORKFLOW, version=1, trigger=Form, source="web.forms", owner="team:revops",
    exceptions="queue:triage", outcome=Lead, due="2d",
)  # fmt: skip


@lead.step
async def enrich(trigger: Form) -> Company:
    return Company(size=trigger.employees)


@lead.assign
def route(enrich: Company) -> str:
    return "team:large" if enrich.size > 500 else "team:emea"


@lead.approval("discount", by="role:sales-lead", due="4h", escalate="team:directors")
class Discount(BaseModel):
    per_cent: int


@lead.step
async def create_lead(enrich: Company, discount: Approval) -> Lead:
    return Lead(crm_id=str(enrich.size))


def stories() -> list[list[bytes]]:
    """Return twenty runs' events, with placeholders for all that differs from run to run."""
    error = requests.StepError(type="CrmDown", message=f"the CRM answers 502 ({CAUSE})")
    opened = facts.ExceptionOpened(
        exception_id=f"x-{RUN}", workflow=WORKFLOW, kind="step_failed", about="create_lead",
        route="queue:triage", owner=OWNER, severity="high", cause=f"create_lead:{CAUSE}",
        message=error.message, blocking=True, due_at=DUE, error=error,
    )  # fmt: skip
    asked = facts.ApprovalRequested(
        approval="discount", workflow=WORKFLOW, by="role:sales-lead", owner=OWNER, due_at=DUE,
        escalate_to="team:directors", form_schema=Discount.model_json_schema(),
    )  # fmt: skip
    waits = facts.Wait(kind="approval", about="discount", since=AT, until=DUE, owner=OWNER)
    held = facts.Wait(kind="exception", about=f"x-{RUN}", since=AT, until=DUE, owner=OWNER)
    failed = [
        facts.StepStarted(step="create_lead", attempt=1),
        facts.StepFailed(step="create_lead", attempt=1, error=error),
        opened,
        facts.RunHeld(waits=(held,)),
    ]
    waiting = [asked, facts.RunWaiting(waits=(waits,))]
    approved = facts.ApprovalApproved(approval="discount", by="user:grace", reason="fine")
    came_through = [
        facts.StepStarted(step="create_lead", attempt=1),
        facts.StepSucceeded(step="create_lead", attempt=1, result={"crm_id": "7"}),
        facts.RunSucceeded(outcome={"crm_id": "7"}),
    ]
    resolved = facts.ExceptionResolved(exception_id=f"x-{RUN}", how="retried", reason="it is up")
    decided = requests.ApprovalSubmitted(approval="discount", decision="approved", reason="fine")
    acted = requests.ExceptionActionRequested(
        exception_id=f"x-{RUN}", action="retry", reason="it is up"
    )
    asked_late = requests.CancelRequested(reason="of no use")
    refused = facts.RequestRejected(
        request="meshline.cancel.requested", code="run_ended", reason="The run has ended."
    )
    kinds = [
        failed,
        waiting,
        [*waiting, decided, approved, *came_through],
        [*failed, acted, resolved, *came_through],
        [*came_through, asked_late, refused],
    ]
    return [_story(kind) for kind in kinds + [came_through] * 15]


def _story(said: list[Any]) -> list[bytes]:
    source = {"source": SOURCE, "trigger_id": RUN, "trigger_type": "Form"}
    payload = {"company": "Acme", "employees": 12}
    events: list[Any] = [
        facts.TriggerAccepted(**source, payload_hash="ab", workflow=WORKFLOW, version=1),
        facts.RunStarted(
            **source, workflow=WORKFLOW, version=1, owner="team:revops",
            exception_route="queue:triage", expected_outcome="Lead", due_at=DUE,
        ),
        facts.StepStarted(step="enrich", attempt=1),
        facts.StepSucceeded(step="enrich", attempt=1, result={"size": 12}),
        facts.OwnerAssigned(
            owner=OWNER, previous="team:revops", rule="route", values={}, reason="by country"
        ),
        *said,
    ]  # fmt: skip
    received = requests.TriggerReceived(**source, payload=payload)
    return [
        encode(_event(RUN, data) if isinstance(data, requests.Request) else _fact(RUN, data))
        for data in [received, *events]
    ]


def _event(run_id: str, data: Any, at: datetime = AT) -> Event[Any]:
    return Event(
        id=f"{run_id}-{SEQUENCE}", source="bench", subject=run_id, time=at, data=data,
        recorded_at=at, actor=Actor("user", "user:grace"),
    )  # fmt: skip


def _fact(run_id: str, data: Any) -> Event[Any]:
    return _event(run_id, data).numbered(EPOCH, SEQUENCE, "keeper")


def long_story(events: int) -> list[bytes]:
    """Return a run that does one step for each of many items."""
    item = [
        (facts.StepStarted(step=f"enrich[{n}]", attempt=1),
         facts.StepSucceeded(step=f"enrich[{n}]", attempt=1, result={"size": n}))
        for n in range((events - 7) // 2)
    ]  # fmt: skip
    head = _story([])[:3]
    said = [facts.StepFannedOut(step="enrich", count=len(item)), *(f for two in item for f in two)]
    return head + [encode(_fact(RUN, each)) for each in said]


class _Writer:
    """Appends stories to one partition, as its keeper would."""

    def __init__(self, log: EventLog, partition: int) -> None:
        self._log, self._partition = log, partition
        self._sequence = self._epoch = 0
        self._waiting: list[Entry] = []

    async def claim(self, at: datetime) -> None:
        data = facts.PartitionClaimed(keeper="keeper", reducer_version=1)
        event = Event(f"claim-{self._partition}", "bench", "", at, data, at)
        self._epoch = await self._append([Entry("", encode(event))])
        spec = lead.spec
        known = facts.WorkflowRegistered(
            workflow=spec.name, version=spec.version, spec_hash=spec.spec_hash, spec=dict(spec.data)
        )
        subject = f"workflow:{WORKFLOW}"
        self.say(subject, encode(_fact(subject, known)), {_said(AT): _said(at)})

    def say(self, run_id: str, value: bytes, differs: dict[bytes, bytes]) -> None:
        for what, by in differs.items():
            value = value.replace(what, by)
        if b"%d" % EPOCH in value:
            self._sequence += 1
            value = value.replace(b"%d" % EPOCH, b"%d" % self._epoch)
        number = self._sequence if b'"sequence"' in value else 10**9 + self._sequence
        value = value.replace(b"%d" % SEQUENCE, b"%d" % number)
        self._waiting.append(Entry(run_id, value))

    async def flush(self, at_least: int = 1) -> None:
        if len(self._waiting) >= at_least:
            waiting, self._waiting = self._waiting, []
            await self._append(waiting)

    async def _append(self, entries: list[Entry]) -> int:
        answer = await self._log.append(self._partition, entries, deadline_s=120)
        assert isinstance(answer, Accepted), answer
        return answer.first


def _said(at: datetime) -> bytes:
    return at.isoformat().replace("+00:00", "").encode()


def _runs(partition: int, count: int, now: datetime) -> Iterator[tuple[str, int, dict[str, Any]]]:
    # The last run began a minute ago, the first about 69 days before it, for 100,000 runs.
    for n in range(partition, count, PARTITIONS):
        number = n // PARTITIONS
        at = now - timedelta(minutes=1 + (count - n))
        differs = {
            RUN: (run_id := run_id_of("bench", str(n))),
            SOURCE: SOURCES[number % len(SOURCES)],
            OWNER: OWNERS[number % len(OWNERS)],
            CAUSE: f"cause-{number // 20 % CAUSES}",
            "at": at,
        }
        yield run_id, number % 20, differs


async def fill(log: EventLog, runs: int, events_of_one: int) -> int:
    """Write the log, and return how many events there are in it."""
    told, now = stories(), datetime.now(UTC).replace(microsecond=0)

    async def one(partition: int) -> None:
        writer = _Writer(log, partition)
        await writer.claim(now - timedelta(days=100))
        for run_id, kind, values in _runs(partition, runs, now):
            at = values.pop("at")
            differs = {name.encode(): value.encode() for name, value in values.items()}
            differs[_said(DUE)] = _said(at + timedelta(days=2))
            first, later = LATER.get(kind, (0, timedelta(0)))
            if at + later > now:
                later = timedelta(0)
            for second, value in enumerate(told[kind]):
                goes_on = at + later if second >= first else at
                differs[_said(AT)] = _said(goes_on + timedelta(seconds=second))
                writer.say(run_id, value, differs)
            await writer.flush(APPEND)
        if partition == 0:
            await _long(writer, events_of_one, now - timedelta(hours=3))
        await writer.flush()

    async def _long(writer: _Writer, events: int, at: datetime) -> None:
        differs = {
            RUN.encode(): LONG_RUN.encode(),
            SOURCE.encode(): b"web.forms",
            _said(DUE): _said(at + timedelta(days=2)),
        }
        for number, value in enumerate(long_story(events)):
            differs[_said(AT)] = _said(at + timedelta(seconds=number))
            writer.say(LONG_RUN, value, differs)
            await writer.flush(APPEND)

    await asyncio.gather(*(one(partition) for partition in range(PARTITIONS)))
    return sum((await log.ends()).values())
