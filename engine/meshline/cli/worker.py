"""``meshline worker APP``: carries out workflows; any number of them share the log's partitions."""

from __future__ import annotations

from typing import Annotated

import typer

from meshline.cli.call import Call, command, group
from meshline.cli.loops import run_fast
from meshline.cli.processes import Service, show_logs, stop_signal, worker_on
from meshline.cli.sources import SourceBrokers, SourceTopics, brokers_of, intakes_on, source_topic
from meshline.workflow.loading import load_app

__all__ = ["app"]

app = group("Carry out the workflows of an app; any number of them.")


@command(app, data=False, runner=run_fast)
async def worker(
    call: Call,
    target: Annotated[
        str, typer.Argument(metavar="APP", help="leads.py, company.leads or company.leads:registry")
    ],
    name: Annotated[
        str | None, typer.Option(metavar="NAME", help="How others see it; by default host:process.")
    ] = None,
    source_topics: SourceTopics = None,
    source_brokers: SourceBrokers = None,
) -> None:
    """Carry out the workflows of an app.

    Any number of workers share the partitions of a log; if one dies, the others take over. SIGTERM
    lets steps under way finish, for 10 seconds at most. The log must be there (`meshline log
    create`). Snapshots of its states are kept where the views are, if that is known.

    Messages of a source topic are CloudEvents in binary or structured mode. With a SOURCE they all
    count as from there, and plain JSON is taken too: FIELD (order.number) or else the message's key
    is the trigger's id.

    \b
    Examples:
      meshline worker company.leads --log kafka://broker:9092/production
      MESHLINE_LOG=postgresql://db/meshline meshline worker leads.py
      meshline worker leads.py --source-topic crm.forms=web.forms,id=form_id
    """
    show_logs()
    registry = load_app(target)
    topics = [source_topic(text) for text in source_topics or ()]
    brokers = brokers_of(call.place.log, source_brokers) if topics else ""
    with stop_signal() as stop:
        async with (
            call.log() as log,
            worker_on(log, registry, views=call.place.named_views, name=name) as at_work,
            Service(log, worker=at_work) as service,
        ):
            names = ", ".join(f"{spec.name} v{spec.version}" for spec in registry)
            call.out.say(f"Worker for {names} on {log.address}")
            await service.during(service.ready(), stop.wait())
            if not stop.is_set():
                held = ", ".join(map(str, at_work.status().partitions))
                call.out.say(f"Ready: holds partitions {held}. Ctrl-C stops.")
                intakes = intakes_on(log, topics, brokers) if topics else []
                await service.during(stop.wait(), *(intake.run() for intake in intakes))
            call.out.say("Stopping: steps under way may finish.")
