"""``meshline feed APP FILE``: the history of an observed workflow, case by case."""

from __future__ import annotations

import asyncio
import gzip
import sys
import time
import uuid
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, closing
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import orjson
import typer

from meshline.cli.apps import module_of
from meshline.cli.call import Call, command, end, group
from meshline.cli.errors import CommandRefused
from meshline.cli.exits import Exit
from meshline.cli.loops import run_fast
from meshline.cli.progress import Progress
from meshline.events.ids import run_id_of
from meshline.events.requests import ActivityReported
from meshline.workflow.loading import load_app
from meshline.workflow.spec import Activity, WorkflowSpec

if TYPE_CHECKING:
    from meshline.events.publish import Publisher, RequestAnswer

__all__ = ["app"]

app = group("Feed the history of an observed workflow.")

WINDOW_MAX = 2_000
"""Reports that are on their way to the log at the same time."""


class Case(NamedTuple):
    """One case of a history: the trigger that opens it, and what was done in it."""

    case_id: str
    trigger: dict[str, Any]
    activities: list[Activity]

    @property
    def time(self) -> datetime | None:
        return datetime.fromisoformat(self.activities[0].time) if self.activities else None


@command(app, asks=True, runner=run_fast)
async def feed(
    call: Call,
    target: Annotated[
        str, typer.Argument(metavar="APP", help="A module with an observed workflow and `convert`.")
    ],
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE...", help="JSON lines, also .gz; - is the pipe.")
    ],
    workflow: Annotated[
        str | None, typer.Option(help="Where the module has several observed workflows.")
    ] = None,
    id_field: Annotated[
        str, typer.Option(help="The field of the trigger that is its id.")
    ] = "case",
) -> None:
    """Bring the history of an observed workflow in: a line is a case, and its activities.

    The module's function `convert(line) -> (trigger, activities)` reads a line. Times stay those
    of the history. Each report has an id of its own that follows from its case and place, so
    feeding a file twice changes nothing. All triggers go in first, then what was done.

    \b
    Examples:
      meshline feed examples/incidents.py incidents.jsonl.gz
      zcat permits.jsonl.gz | head -100 | meshline feed examples/permits.py -
    """
    spec = _observed(list(load_app(target)), workflow, target)
    convert = _convert(target)
    started_s = time.monotonic()
    cases = list(_cases(files, convert, id_field))
    async with call.publisher() as publisher:
        answers = await _triggers(call, publisher, spec, cases)
        left_out = {case_id for case_id, status in answers if status == "rejected"}
        fed = [case for case in cases if case.case_id not in left_out]
        activities = await _activities(call, publisher, spec, fed)
    counts = Counter(status for _, status in answers)
    result = {
        "workflow": spec.name,
        "cases": len(cases),
        **{status: counts[status] for status in ("accepted", "repeated", "rejected", "appended")},
        "activities": activities,
        "seconds": round(time.monotonic() - started_s, 3),
    }
    call.out.thing(result, lambda: _text(result))
    if counts["appended"] and call.wait_s is not None:
        call.out.say("All of it is in the log, and is taken in as soon as a worker runs.")
    end(Exit.REFUSED if counts["rejected"] else Exit.OK)


def _text(result: dict[str, Any]) -> str:
    statuses = ("accepted", "repeated", "rejected", "appended")
    said = ", ".join(f"{result[s]:,} {s}" for s in statuses if result[s]) or "none"
    return (
        f"{result['cases']:,} cases of {result['workflow']}: {said}; "
        f"{result['activities']:,} activities reported, in {result['seconds']:.1f} s."
    )


# -- reading -----------------------------------------------------------------------------------


def _observed(specs: list[WorkflowSpec], name: str | None, target: str) -> WorkflowSpec:
    found = [spec for spec in specs if spec.observed and name in (None, spec.name)]
    if len(found) == 1:
        return found[0]
    names = ", ".join(spec.name for spec in specs if spec.observed) or "none"
    raise CommandRefused(
        f"The app {target!r} has these observed workflows: {names}. Expected one to feed. Name it "
        "with --workflow, or feed another app."
    )


def _convert(target: str) -> Callable[[Any], tuple[dict[str, Any], list[Activity]]]:
    convert = getattr(module_of(target), "convert", None)
    if not callable(convert):
        raise CommandRefused(
            f"The app {target!r} has no function `convert`: expected one that reads a line of the "
            "history. Write convert(line: dict) -> (trigger payload, list of Activity) in it."
        )
    found: Callable[[Any], tuple[dict[str, Any], list[Activity]]] = convert
    return found


def _cases(files: list[Path], convert: Any, id_field: str) -> Iterator[Case]:
    with closing(_lines(files)) as lines:
        for file, number, line in lines:
            try:
                trigger, activities = convert(orjson.loads(line))
                yield Case(str(trigger[id_field]), trigger, activities)
            except (ValueError, KeyError, TypeError) as error:
                raise CommandRefused(
                    f"Cannot read case {number} of {str(file)!r}: {type(error).__name__}: {error}. "
                    f"Expected a line that `convert` understands, and a trigger with {id_field!r}. "
                    "Correct the line, or name the field with --id-field. Nothing was published."
                ) from error


def _lines(files: list[Path]) -> Generator[tuple[Path, int, bytes]]:
    for path in files:
        with ExitStack() as stack:
            if str(path) == "-":
                lines: Any = sys.stdin.buffer
            elif not path.is_file():
                raise typer.BadParameter(f"there is no file {str(path)!r}", param_hint="FILE")
            elif path.suffix == ".gz":
                lines = stack.enter_context(gzip.open(path, "rb"))
            else:
                lines = stack.enter_context(path.open("rb"))
            for number, line in enumerate(lines, 1):
                if line.strip():
                    yield path, number, line


# -- publishing --------------------------------------------------------------------------------


async def _triggers(
    call: Call, publisher: Publisher, spec: WorkflowSpec, cases: list[Case]
) -> list[tuple[str, str]]:
    from meshline.events.publish import Trigger

    triggers = (
        Trigger(spec.source, case.trigger, case.case_id, spec.trigger_type, time=case.time)
        for case in cases
    )
    answers: list[tuple[str, str]] = []
    with Progress(call.out, "Cases", len(cases)) as progress:
        async for answer in publisher.publish_many(triggers, wait_s=call.wait_s):
            answers.append((answer.trigger_id, answer.status))
            progress.advance()
    return answers


async def _activities(
    call: Call, publisher: Publisher, spec: WorkflowSpec, cases: list[Case]
) -> int:
    window: deque[asyncio.Task[RequestAnswer]] = deque()
    total = sum(len(case.activities) for case in cases)
    with Progress(call.out, "Activities", total) as progress:
        for case in cases:
            run_id = run_id_of(spec.source, case.case_id)
            for number, activity in enumerate(case.activities):
                window.append(
                    asyncio.create_task(_report(call, publisher, run_id, number, activity))
                )
            while len(window) > WINDOW_MAX:
                await window.popleft()
                progress.advance()
        while window:
            await window.popleft()
            progress.advance()
    return total


async def _report(
    call: Call, publisher: Publisher, run_id: str, number: int, activity: Activity
) -> RequestAnswer:
    return await publisher.request(
        run_id,
        ActivityReported(activity=activity.name, payload=activity.payload),
        actor=call.actor,
        event_id=str(uuid.uuid5(uuid.UUID(run_id), str(number))),
        time=datetime.fromisoformat(activity.time),
    )
