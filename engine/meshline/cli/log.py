"""``meshline log``: create, info, tail, seal, copy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from meshline.cli.call import Call, command, group, seconds
from meshline.cli.log_reading import as_data, last_records, masked_record, new_records, readable
from meshline.cli.processes import PARTITIONS, opened_or_created
from meshline.cli.progress import Progress
from meshline.cli.tables import Column, plain_table
from meshline.cli.words import clock_time, short
from meshline.events.facts import WorkflowRegistered
from meshline.events.story import sentence

if TYPE_CHECKING:
    from meshline.events.log import EventLog, LogRecord

__all__ = ["app"]

app = group("The log: the append-only truth.")


@command(app)
async def create(
    call: Call,
    partitions: Annotated[
        int, typer.Option(min=1, max=1024, help="How many; fixed from then on.")
    ] = PARTITIONS,
) -> None:
    """Make a log at the address, or say that there is one.

    The number of partitions is fixed for ever: workers share them, so it is also the largest
    number of workers.

    \b
    Examples:
      meshline log create --log kafka://broker:9092/production --partitions 32
      meshline log create --log postgresql://db/meshline
    """
    log, is_new = await opened_or_created(call.place.log, partitions)
    try:
        call.out.say("Created." if is_new else "There is a log already; nothing was changed.")
        await _tell(call, log)
    finally:
        await log.aclose()


@command(app)
async def info(call: Call) -> None:
    """Say which log this is, how it is laid out and how much it holds.

    \b
    Examples:
      meshline log info
      meshline log info --log kafka://broker:9092/production --output json
    """
    async with call.log() as log:
        await _tell(call, log)


async def _tell(call: Call, log: EventLog) -> None:
    ends = await log.ends()
    data = {
        "address": log.address,
        "log_id": log.identity.log_id,
        "partitions": log.identity.partitions,
        "created_at": log.identity.created_at,
        "records": sum(ends.values()),
        "ends": {str(partition): end for partition, end in sorted(ends.items())},
    }

    def text() -> str:
        table = plain_table(
            (
                Column("partition", lambda item: str(item[0]), right=True),
                Column("records", lambda item: f"{item[1]:,}", right=True),
            ),
            sorted(ends.items()),
        )
        return "\n".join(
            [
                f"Log {log.identity.log_id}",
                f"  address     {log.address}",
                f"  named by    {call.place.origin}",
                f"  created     {clock_time(log.identity.created_at)}",
                f"  partitions  {log.identity.partitions}",
                f"  records     {sum(ends.values()):,}",
                "",
                *(f"  {line}" for line in table.splitlines()),
            ]
        )

    call.out.thing(data, text)


@command(app)
async def tail(
    call: Call,
    count: Annotated[
        int, typer.Option("--count", "-n", min=0, max=100_000, help="The last so many.")
    ] = 20,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="And what comes.")] = False,
    partition: Annotated[int | None, typer.Option(min=0, help="Only this one.")] = None,
    run: Annotated[str | None, typer.Option(help="Only of runs whose id begins so.")] = None,
    since: Annotated[
        str | None, typer.Option(metavar="10m", help="Instead of --count: from so long ago on.")
    ] = None,
) -> None:
    """Show the last records of the log, and with -f those that come.

    Every record is shown, also facts that are void because their writer was no longer the keeper.
    What a definition marks as secret is masked; payloads are masked whole where no views say what
    the definitions are.

    \b
    Examples:
      meshline log tail -n 50
      meshline log tail -f --run 1f0c2a9b
      meshline log tail --since 10m --output jsonl | jq .event.type
    """
    async with call.log() as log:
        ends = {p: end for p, end in (await log.ends()).items() if partition in (None, p)}
        if not ends:
            raise typer.BadParameter(
                f"there is no partition {partition}: expected 0 to {log.identity.partitions - 1}",
                param_hint="--partition",
            )
        from meshline.projections.masking import secrets_of_specs

        specs = [*(await call.definitions()).specs]
        secrets = secrets_of_specs(specs)
        with call.out.stream(live=follow) as emit:
            async for record in _records(call, log, ends, count, since, follow):
                event = readable(record)
                if specs and event is not None and isinstance(event.data, WorkflowRegistered):
                    specs.append(event.data.spec)
                    secrets = secrets_of_specs(specs)
                if run is None or record.key.startswith(run):
                    shown = masked_record(record, secrets)
                    emit(as_data(shown), _line(shown))


async def _records(
    call: Call,
    log: EventLog,
    ends: dict[int, int],
    count: int,
    since: str | None,
    follow: bool,
) -> Any:
    from datetime import timedelta

    from meshline.cli.log_reading import records_between

    if since is None:
        for record in await last_records(log, ends, count):
            yield record
    else:
        moment = call.clock.now() - timedelta(seconds=seconds(since, "--since"))
        starts = await log.position_at(moment)
        async for record in records_between(log, {p: starts[p] for p in ends}, ends):
            yield record
    if follow:
        reader = log.reader(ends)
        try:
            async for record in new_records(reader):
                yield record
        finally:
            await reader.aclose()


def _line(record: LogRecord) -> str:
    event = readable(record)
    at = f"{record.partition}:{record.offset}"
    if event is None:
        return f"{at:<9} unreadable: {record.value[:120]!r}"
    kind = "fact" if event.is_fact else "asked"
    text = sentence(event)
    return f"{at:<9} {clock_time(event.recorded_at)}  {short(record.key):<8}  {kind:<5}  {text}"


@command(app)
async def seal(call: Call) -> None:
    """Write a seal of the log: by partition, how many records it has and a hash over all of them.

    Keep it away from the log. `meshline verify --seal FILE` proves later that the history up to
    there is the same, byte for byte; also of a copy of the log.

    \b
    Examples:
      meshline log seal > 2026-12-01.seal.json
      meshline verify --seal 2026-12-01.seal.json
    """
    from meshline.cli.output import Form
    from meshline.events.log.reading import seal_log

    async with call.log() as log:
        with Progress(call.out, "Sealed", sum((await log.ends()).values())) as progress:
            made = await seal_log(log, call.clock.now(), progress.advance)
    records = sum(partition.records for partition in made.partitions.values())
    # A seal is for programs, whatever form is asked for; one line of it only for `jsonl`.
    call.out.form = Form.json if call.out.is_text else call.out.form
    call.out.thing(made, str)
    call.out.say(f"Sealed {records:,} records of log {made.log_id}.")


@command(app, where=False)
async def copy(
    call: Call,
    source: Annotated[str, typer.Argument(metavar="FROM", help="The log's address.")],
    target: Annotated[str, typer.Argument(metavar="TO", help="Where it is copied to.")],
) -> None:
    """Copy a log with all its history to another place, record by record.

    The same positions, so all that refers to them stays right. Stop the workers first. Copying
    again goes on where it ended. The views are built anew from the copy.

    \b
    Examples:
      meshline log copy embedded kafka://broker:9092/production
    """
    from meshline.cli.log_copy import copy_log

    with Progress(call.out, "Copied", None) as progress:
        copied = await copy_log(call.given, source, target, progress)
    call.out.thing(copied, lambda: f"Copied {copied['copied']:,} records; {copied['before']:,} were"
                   " there before.")  # fmt: skip
