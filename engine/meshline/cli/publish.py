"""``meshline publish SOURCE``: triggers from an argument, a file of JSON lines, or a pipe."""

from __future__ import annotations

import asyncio
import sys
from collections import Counter, deque
from collections.abc import AsyncIterator, Collection, Generator, Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import orjson
import typer

from meshline.cli.call import Call, command, end, group
from meshline.cli.exits import Exit
from meshline.cli.progress import Progress
from meshline.cli.words import short

if TYPE_CHECKING:
    from meshline.events.publish import Answer, Publisher

__all__ = ["answer_text", "app", "exit_of_answers"]

app = group("Publish triggers.")

WINDOW_MAX = 1_000
"""Triggers whose answers are still to come."""


@command(app, asks=True)
async def publish(
    call: Call,
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="The system that it comes from.")],
    payload: Annotated[
        str | None, typer.Argument(metavar="JSON", help="One payload; else --file or a pipe.")
    ] = None,
    file: Annotated[
        Path | None, typer.Option(help="JSON lines, one payload each; - is the pipe.")
    ] = None,
    trigger_id: Annotated[
        str | None, typer.Option("--id", help="The source's own id of the one payload.")
    ] = None,
    id_field: Annotated[
        str, typer.Option(help="The field of the payload that holds its id.")
    ] = "id",
    trigger_type: Annotated[
        str, typer.Option("--type", help="Where the source starts several workflows.")
    ] = "",
    no_wait: Annotated[
        bool, typer.Option("--no-wait", help="It is in the log: do not wait for the decision.")
    ] = False,
) -> None:
    """Publish triggers, and say what became of each: accepted, repeated or rejected.

    The id is the source's own: the same one again is the same run, so everything may be published
    again. What can't be read is kept, and listed by `meshline trigger list --status rejected`.
    Ends with 3 if one was rejected, with 6 if no worker has decided in time.

    \b
    Examples:
      meshline publish web.forms '{"form_id": "F-1", "email": "ada@example.org"}' --id F-1
      meshline publish web.forms --file forms.jsonl --id-field form_id
      psql -Atc 'select to_jsonb(f) from forms f' | meshline publish web.forms -o jsonl
    """
    lines, total = _lines(payload, file, trigger_id)
    wait_s = None if no_wait else call.wait_s
    counts: Counter[str] = Counter()
    async with call.publisher() as publisher:
        with (
            closing(_identified(lines, trigger_id, id_field)) as payloads,
            Progress(call.out, "Published", total, beside_data=True) as progress,
            call.out.stream() as emit,
        ):
            sending = _Sending(publisher, source, trigger_type, wait_s)
            async for answer in sending.answers(payloads):
                counts[answer.status] += 1
                progress.advance()
                emit(answer, answer_text(answer))
    call.out.say(_summary(counts))
    if counts["appended"] and wait_s is not None:
        call.out.say(
            "Those without an answer are in the log, and are decided when a worker runs: "
            "`meshline trigger list` shows what became of them."
        )
    end(exit_of_answers(counts, waited=wait_s is not None))


def _lines(
    payload: str | None, file: Path | None, trigger_id: str | None
) -> tuple[Iterator[bytes], int | None]:
    """Return the payloads as they came, and how many bytes they are where that is known."""
    if payload is not None:
        if file is not None:
            raise typer.BadParameter("give one payload or a file, not both", param_hint="--file")
        return iter([payload.encode("utf-8", "surrogateescape")]), 1
    if trigger_id is not None:
        raise typer.BadParameter(
            "an id is for one payload; name the field that holds it with --id-field",
            param_hint="--id",
        )
    if file is None and sys.stdin.isatty():
        raise typer.BadParameter("expected a payload, --file, or a pipe", param_hint="JSON")
    if file is None or str(file) == "-":
        return _not_empty(sys.stdin.buffer), None
    if not file.is_file():
        raise typer.BadParameter(f"there is no file {str(file)!r}", param_hint="--file")
    with file.open("rb") as counted:
        total = sum(1 for line in counted if line.strip())
    return _lines_of(file), total


def _lines_of(file: Path) -> Iterator[bytes]:
    with file.open("rb") as opened:
        yield from _not_empty(opened)


def _not_empty(lines: Any) -> Iterator[bytes]:
    return (line.strip() for line in lines if line.strip())


def _identified(
    lines: Iterator[bytes], trigger_id: str | None, id_field: str
) -> Generator[tuple[bytes, str]]:
    for number, line in enumerate(lines, 1):
        yield line, trigger_id or _id_in(line, id_field, number)


def _id_in(line: bytes, id_field: str, number: int) -> str:
    try:
        payload = orjson.loads(line)
    except orjson.JSONDecodeError:
        return ""  # The publisher keeps it under an id of its own, for a person to see.
    found = payload.get(id_field) if isinstance(payload, dict) else None
    if isinstance(found, str | int) and not isinstance(found, bool) and found != "":
        return str(found)
    raise typer.BadParameter(
        f"payload {number} has no id in its field {id_field!r}: expected the source's own id, "
        "because the same id is the same run. Name its field with --id-field, or give --id",
        param_hint="--id-field",
    )


class _Sending:
    """Publishes many at a time, and gives the answers in the order of the payloads."""

    def __init__(
        self, publisher: Publisher, source: str, trigger_type: str, wait_s: float | None
    ) -> None:
        self._publisher = publisher
        self._source = source
        self._trigger_type = trigger_type
        self._wait_s = wait_s

    async def answers(self, payloads: Iterator[tuple[bytes, str]]) -> AsyncIterator[Answer]:
        window: deque[asyncio.Task[Answer]] = deque()
        wrong: typer.BadParameter | None = None
        try:
            try:
                for raw, trigger_id in payloads:
                    window.append(asyncio.create_task(self._send(raw, trigger_id)))
                    while len(window) >= WINDOW_MAX:
                        yield await self._first(window)
            except typer.BadParameter as error:
                # What was handed over before is in the log: its answers are still told.
                wrong = error
            while window:
                yield await self._first(window)
        finally:
            for task in window:
                task.cancel()
            await asyncio.gather(*window, return_exceptions=True)
        if wrong is not None:
            raise wrong

    async def _send(self, raw: bytes, trigger_id: str) -> Answer:
        return await self._publisher.publish_raw(
            self._source,
            raw,
            trigger_id=trigger_id,
            trigger_type=self._trigger_type,
            wait_s=self._wait_s,
        )

    async def _first(self, window: deque[asyncio.Task[Answer]]) -> Answer:
        answer = await window.popleft()
        if answer.status == "appended":
            # Nobody decides: waiting as long for each of the others would tell no more.
            self._wait_s = None
        return answer


def answer_text(answer: Answer) -> str:
    """Return the line that tells what became of a trigger."""
    said = f"{answer.status:<8}  {short(answer.run_id)}  {answer.source} {answer.trigger_id}"
    if answer.status == "rejected":
        problems = "; ".join(f"{p.pointer or '/'}: {p.message}" for p in answer.problems)
        said += f"  {answer.code}: {problems or answer.reason}"
    return said


def _summary(counts: Counter[str]) -> str:
    order = ("accepted", "repeated", "rejected", "appended")
    words = {"appended": "in the log without an answer"}
    parts = [f"{counts[s]:,} {words.get(s, s)}" for s in order if counts[s]]
    return ", ".join(parts) + "." if parts else "Nothing was published: no payload came."


def exit_of_answers(statuses: Collection[str], *, waited: bool) -> Exit:
    """Return how a command ends that has these answers."""
    if "rejected" in statuses:
        return Exit.REFUSED
    return Exit.UNANSWERED if "appended" in statuses and waited else Exit.OK
