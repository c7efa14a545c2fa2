"""``meshline listen``: takes in what others write to a topic of theirs."""

from __future__ import annotations

import re
from typing import Annotated
from urllib.parse import urlsplit

import typer

from meshline.cli.call import Call, command, group
from meshline.cli.loops import run_fast
from meshline.cli.processes import either, show_logs, stop_signal

__all__ = ["app"]

app = group("Take in what others write to a Kafka topic of theirs.")

_TOPIC = re.compile(r"[A-Za-z0-9._-]{1,249}")


@command(app, data=False, runner=run_fast)
async def listen(
    call: Call,
    address: Annotated[
        str, typer.Argument(metavar="TOPIC", help="kafka://broker:9092/TOPIC; not that of a log.")
    ],
    member_group: Annotated[
        str | None,
        typer.Option("--group", help="Those who share it share the messages; by default the log."),
    ] = None,
    source: Annotated[str, typer.Option(help="Of plain JSON: the source of all messages.")] = "",
    source_field: Annotated[str, typer.Option(help="Of plain JSON: where the source is.")] = "",
    id_field: Annotated[
        str, typer.Option(help="Of plain JSON: where the id is, as in order.number; else the key.")
    ] = "",
    trigger_type: Annotated[
        str, typer.Option("--type", help="Of plain JSON: the type of all messages.")
    ] = "",
    type_field: Annotated[str, typer.Option(help="Of plain JSON: where the type is.")] = "",
) -> None:
    """Take in what others write to a Kafka topic of theirs, as triggers.

    CloudEvents in binary and structured mode are understood as they are; for plain JSON say where
    the source and the id are. A message counts as read when it is in the log. What can't be read
    is kept, and listed by `meshline trigger list --status rejected`.

    \b
    Examples:
      meshline listen kafka://broker:9092/crm.events
      meshline listen kafka://broker:9092/orders --source shop --id-field order.number
    """
    from meshline.engine.intake import Intake
    from meshline.events.log.kafka_signal import JsonMapping
    from meshline.events.log.kafka_source import KafkaSource

    show_logs()
    parts = urlsplit(address)
    topic = parts.path.removeprefix("/")
    if parts.scheme != "kafka" or not parts.netloc or not _TOPIC.fullmatch(topic):
        raise typer.BadParameter(
            f"{address!r} is no topic: expected kafka://host:9092/TOPIC", param_hint="TOPIC"
        )
    mapping = None
    if source or source_field:
        mapping = JsonMapping(id_field, source, source_field, trigger_type, type_field)
    with stop_signal() as stop:
        async with call.log() as log:
            members = member_group or f"meshline-{log.identity.log_id}"
            intake = Intake(
                log, lambda: KafkaSource(parts.netloc, topic, members, mapping=mapping), name=topic
            )
            call.out.say(f"Listening to {topic} for {log.address}. Ctrl-C stops.")
            await either(stop.wait(), intake.run())
            status = intake.status()
            call.out.say(f"{status.taken:,} taken in, {status.unreadable:,} of them unreadable.")
