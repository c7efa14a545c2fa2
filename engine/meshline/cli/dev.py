"""``meshline dev APP``: everything in one process, on this machine, for development."""

from __future__ import annotations

import time
from collections.abc import Coroutine
from contextlib import closing
from typing import TYPE_CHECKING, Annotated, Any

import typer
from pydantic.errors import PydanticInvalidForJsonSchema

from meshline.cli.app_code import AppCode
from meshline.cli.call import Call, command, group
from meshline.cli.home import alone
from meshline.cli.local_api import LocalApi, api_of
from meshline.cli.loops import run_fast
from meshline.cli.place import EMBEDDED, HOME, Given, Place, Runtime, is_postgres, shown
from meshline.cli.processes import (
    PARTITIONS,
    Service,
    import_parts,
    open_or_create,
    show_logs,
    stop_signal,
    viewing_on,
    worker_on,
)
from meshline.cli.reloading import reload_on_change
from meshline.cli.sources import (
    SourceBrokers,
    SourceTopics,
    brokers_of,
    intakes_on,
    source_topic,
)
from meshline.cli.words import prompt_name

if TYPE_CHECKING:
    from meshline.events.log import EventLog
    from meshline.workflow.registry import Registry
    from meshline.workflow.spec import WorkflowSpec

__all__ = ["app"]

app = group("Log, worker and projector in one process, for development.")


@command(app, data=False, runner=run_fast)
async def dev(
    call: Call,
    target: Annotated[
        str, typer.Argument(metavar="APP", help="leads.py, company.leads or company.leads:registry")
    ],
    partitions: Annotated[
        int, typer.Option(min=1, max=1024, help="Of a log that is made now; fixed from then on.")
    ] = PARTITIONS,
    source_topics: SourceTopics = None,
    source_brokers: SourceBrokers = None,
    port: Annotated[
        int,
        typer.Option(
            min=0, max=65535, help="Of console and API, on this machine only; 0: a free one."
        ),
    ] = 0,
    reload: Annotated[
        bool, typer.Option("--reload/--no-reload", help="Load the code again when it changes.")
    ] = True,
) -> None:
    """Run the workflows of an app on this machine, with nothing else to install.

    Log and views are in a PostgreSQL of this folder's own (.meshline/), and stay there when the
    process ends: start it again, and all runs go on. Ctrl-C or SIGTERM lets steps under way finish.
    The web console and the HTTP API are there too, for this machine alone, with a user and a key
    that are made at the first start.

    \b
    Examples:
      meshline dev examples/lead_intake.py
      meshline dev leads.py --log kafka://localhost:9092/dev
      meshline dev leads.py --source-topic crm.forms --source-brokers localhost:9092
      meshline dev leads.py --log postgresql://localhost/meshline --home /tmp/leads
    """
    started_s = time.monotonic()
    show_logs()
    place = _place(call.given)
    with alone(place.home), closing(place), stop_signal() as stop:
        place.begin()
        code = AppCode(target)
        registry = code.load()
        import_parts()
        views = place.views
        topics = [source_topic(text) for text in source_topics or ()]
        brokers = brokers_of(place.log, source_brokers) if topics else ""
        Runtime.of(place, target).write(place.home)
        async with (
            open_or_create(place.log, partitions) as log,
            worker_on(log, registry, views=views) as worker,
            viewing_on(log, views, code.projections) as viewing,
            Service(log, worker=worker, viewing=viewing) as service,
            api_of(log, views, place.home, port) as api,
        ):
            await service.during(service.ready(), stop.wait())
            if not stop.is_set():
                ready_s = time.monotonic() - started_s
                call.out.say(*await _welcome(place, log, registry, ready_s, reload, api))
            works: list[Coroutine[Any, Any, Any]] = [stop.wait()]
            works += [intake.run() for intake in intakes_on(log, topics, brokers)]
            if reload:

                def replaced(registry: Registry) -> None:
                    worker.replace_registry(registry)
                    viewing.go_on_with(code.projections)

                works.append(reload_on_change(code, stop, replaced, call.out.say))
            await service.during(*works)
            call.out.say("Stopping: steps under way may finish.")


def _place(given: Given) -> Place:
    """What was given, and the folder's PostgreSQL for what was not."""
    log = given.log or EMBEDDED
    views = given.views or (log if is_postgres(log) else EMBEDDED)
    return Place(given.home or HOME, log, views, given.log_origin)


async def _welcome(
    place: Place, log: EventLog, registry: Registry, ready_s: float, reload: bool, api: LocalApi
) -> list[str]:
    ends = await log.ends()
    events = sum(ends.values()) - len(ends)
    name = prompt_name()
    where = f"  (PostgreSQL in {place.home})" if place.named_log == EMBEDDED else ""
    home = "" if place.home == HOME else f" --home {place.home}"
    specs = [spec for spec in registry if spec.silence_of is None]
    first = registry.newest(specs[0].name) or specs[0]
    return [
        f"Ready in {ready_s:.1f} s." + (" Changed code is loaded again." if reload else ""),
        "",
        *(
            f"  workflow  {spec.name} v{spec.version}: {spec.trigger_type} from {spec.source}"
            for spec in specs
        ),
        f"  log       {log.address}{where}",
        f"            {len(ends)} partitions, {events:,} events",
        f"  views     {shown(place.views)}",
        f"  console   {api.address}{_first_user(api)}",
        f"  API       {api.address}/docs  (key in {api.key_file})",
        "",
        "Type in another terminal:",
        "",
        f"  {name} publish {first.source} --id 1{home} '{_example(first)}'",
        f"  {name} run list{home}",
        f"  {name} exception groups{home}",
        f"  {name} --help",
        "",
        "Ctrl-C stops; all runs go on at the next start.",
    ]


def _first_user(api: LocalApi) -> str:
    """Return who can sign in, as long as that can be told."""
    from meshline.api.accounts import FIRST_USER

    return f"  (user {FIRST_USER}, password {api.password}: kept by nobody)" if api.password else ""


def _example(spec: WorkflowSpec) -> str:
    """Return a payload with the trigger's required fields, to be filled in."""
    try:
        schema = spec.trigger.json_schema()
    except PydanticInvalidForJsonSchema:
        return "{…}"
    fields = schema.get("properties", {})
    samples = {"integer": "1", "number": "1.5", "boolean": "true", "array": "[]", "object": "{}"}
    shown_fields = (
        f'"{name}": ' + samples.get(fields.get(name, {}).get("type", ""), '"…"')
        for name in schema.get("required", ())
    )
    return "{" + ", ".join(shown_fields) + "}"
