"""The day of the demo: submissions go in, people decide, and what came of it is written."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from meshline.cli.apps import module_of
from meshline.cli.call import Call
from meshline.cli.demo_text import Decided, Seen, write_demo
from meshline.cli.place import Place
from meshline.cli.processes import (
    Service,
    Viewing,
    caught_up,
    open_or_create,
    show_logs,
    viewing_on,
    worker_on,
)
from meshline.cli.progress import Progress
from meshline.events.envelope import Actor
from meshline.events.publish import Answer, Publisher, Trigger
from meshline.events.requests import ApprovalSubmitted
from meshline.projections.queries import Views
from meshline.workflow.loading import load_app

if TYPE_CHECKING:
    from meshline.events.log import EventLog
    from meshline.projections.tasks_view import TaskRow

__all__ = ["run_day"]

PARTITIONS = 4
ANSWER_S = 30.0
SETTLE_S = 15.0
"""For the retries of what fails for good."""

DECISIONS_MAX = 8
ADA, GRACE = Actor("user", "user:ada"), Actor("user", "user:grace")


async def run_day(call: Call, place: Place, example: Path, count: int, seed: int) -> None:
    """Carry the day out on an empty log, and write what came of it."""
    show_logs()
    registry = load_app(str(example))
    submissions = module_of(str(example)).generate(count, seed)
    address = place.views
    views = Views(address)
    async with (
        open_or_create(place.log, PARTITIONS) as log,
        worker_on(log, registry, views=address) as worker,
        viewing_on(log, address) as viewing,
        Service(log, worker=worker, viewing=viewing) as service,
    ):
        try:
            await service.during(_day(call, log, viewing, views, registry, submissions))
        finally:
            await views.aclose()


async def _day(
    call: Call, log: EventLog, viewing: Viewing, views: Views, registry: Any, submissions: Any
) -> None:
    spec = next(iter(registry))
    async with Publisher(log, actor=Actor("service", "service:web-forms")) as publisher:
        started_s = time.monotonic()
        answers = await _publish(call, publisher, spec.source, submissions)
        published_s = time.monotonic() - started_s
        await _settled(log, viewing, views)
        took_s = time.monotonic() - started_s
        decided = await _decide(publisher, views)
        await _settled(log, viewing, views)
    seen = Seen(
        answers=answers,
        published_s=published_s,
        took_s=took_s,
        records=sum((await log.ends()).values()),
        decided=decided,
        spec=spec,
        log=log.address,
    )
    await write_demo(call.out, views, seen, call.clock.now())


async def _publish(call: Call, publisher: Publisher, source: str, submissions: Any) -> list[Answer]:
    triggers = [Trigger(source, each.payload, each.id) for each in submissions]
    answers = []
    with Progress(call.out, "Submissions", len(triggers)) as progress:
        async for answer in publisher.publish_many(triggers, wait_s=ANSWER_S):
            answers.append(answer)
            progress.advance()
    return answers


async def _settled(log: EventLog, viewing: Viewing, views: Views) -> None:
    """Wait until no run moves by itself any more, and the views have seen it."""
    deadline_s = time.monotonic() + SETTLE_S
    while time.monotonic() < deadline_s:
        await caught_up(log, viewing)
        counts = await views.run_counts()
        retrying = (await views.runs(wait_kind="retry", limit=1)).rows
        if not counts.get("running") and not retrying:
            return


async def _decide(publisher: Publisher, views: Views) -> list[Decided]:
    """Let two people answer some approvals, one of them twice; the others stay open."""
    asked = sorted((await views.approvals(limit=1000)).rows)
    decided = []
    for number, approval in enumerate(asked[: min(DECISIONS_MAX, len(asked) * 3 // 4)]):
        if number % 5 == 3:
            reason = "no discount for customers of our competitor"
            submitted = ApprovalSubmitted(approval=approval.task, decision="denied", reason=reason)
            decided.append(await _submit(publisher, approval, submitted, GRACE))
            continue
        form = {"discount_percent": (5, 10, 15)[number % 3]}
        submitted = ApprovalSubmitted(approval=approval.task, decision="approved", form=form)
        decided.append(await _submit(publisher, approval, submitted, ADA))
        if number == 0:
            decided.append(await _submit(publisher, approval, submitted, GRACE))
    return decided


async def _submit(
    publisher: Publisher, approval: TaskRow, submitted: ApprovalSubmitted, actor: Actor
) -> Decided:
    answer = await publisher.request(approval.run_id, submitted, actor=actor, wait_s=ANSWER_S)
    return Decided(actor.id, submitted, answer)
