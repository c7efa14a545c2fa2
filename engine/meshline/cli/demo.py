"""``meshline demo``: a day of form submissions goes through, and what came of it is shown."""

from __future__ import annotations

import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from meshline.cli.apps import module_of
from meshline.cli.call import Call, command, group
from meshline.cli.demo_text import Decided, Seen, write_demo
from meshline.cli.errors import CommandRefused
from meshline.cli.home import alone, emptied
from meshline.cli.place import DEMO, EMBEDDED, HOME, Place, Runtime
from meshline.cli.processes import (
    Service,
    Viewing,
    caught_up,
    open_or_create,
    run_fast,
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
    from meshline.projections.approvals_view import ApprovalRow

__all__ = ["app"]

app = group("See it work: submissions of a web form, on this machine.")

EXAMPLE = Path("examples/lead_intake.py")
PARTITIONS = 4
ANSWER_S = 30.0
SETTLE_S = 15.0
"""For the retries of what fails for good."""

ADA, GRACE = Actor("user", "user:ada"), Actor("user", "user:grace")


@command(app, where=False, data=False, runner=run_fast)
async def demo(
    call: Call,
    count: Annotated[int, typer.Option(min=20, max=50_000, help="How many submissions.")] = 500,
    seed: Annotated[int, typer.Option(help="The same seed gives the same submissions.")] = 7,
) -> None:
    """Run lead intake on this machine: 500 submissions of a web form, and what becomes of them.

    In an empty PostgreSQL of its own (.meshline/demo), which stays there to look at afterwards.
    All that is printed is read from the views; nothing is made up but the submissions.

    \b
    Examples:
      meshline demo
      meshline demo --count 2000 --seed 11
    """
    show_logs()
    example = _example()
    registry = load_app(str(example))
    submissions = module_of(str(example)).generate(count, seed)
    home = HOME / DEMO
    place = Place(home, EMBEDDED, EMBEDDED, "demo")
    with alone(home), closing(place):
        emptied(place.data)
        Runtime.of(place, str(example)).write(home)
        views_address = place.views
        views = Views(views_address)
        async with (
            open_or_create(place.log, PARTITIONS) as log,
            worker_on(log, registry, views=views_address) as worker,
            viewing_on(log, views_address) as viewing,
            Service(log, worker=worker, viewing=viewing) as service,
        ):
            try:
                await service.during(_day(call, log, viewing, views, registry, submissions))
            finally:
                await views.aclose()


def _example() -> Path:
    checkout = Path(__file__).resolve().parents[3]
    for root in (Path(), checkout):
        if (root / EXAMPLE).is_file():
            path = (root / EXAMPLE).resolve()
            here = Path.cwd()
            return path.relative_to(here) if path.is_relative_to(here) else path
    raise CommandRefused(
        f"There is no {str(EXAMPLE)!r} here: expected to be in a checkout of Meshline, where the "
        "examples are. Clone the repository, and run it there."
    )


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
    """Let two people answer most approvals, one of them twice; some stay open."""
    asked = (await views.approvals(limit=1000)).rows[::-1]
    decided = []
    for number, approval in enumerate(asked[: len(asked) * 3 // 4]):
        if number % 5 == 3:
            reason = "no discount for customers of our competitor"
            submitted = ApprovalSubmitted(
                approval=approval.approval, decision="denied", reason=reason
            )
            decided.append(await _submit(publisher, approval, submitted, GRACE))
            continue
        form = {"discount_percent": (5, 10, 15)[number % 3]}
        submitted = ApprovalSubmitted(approval=approval.approval, decision="approved", form=form)
        decided.append(await _submit(publisher, approval, submitted, ADA))
        if number == 0:
            decided.append(await _submit(publisher, approval, submitted, GRACE))
    return decided


async def _submit(
    publisher: Publisher, approval: ApprovalRow, submitted: ApprovalSubmitted, actor: Actor
) -> Decided:
    answer = await publisher.request(approval.run_id, submitted, actor=actor, wait_s=ANSWER_S)
    return Decided(actor.id, submitted, answer)
