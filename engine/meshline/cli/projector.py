"""``meshline projector``: keeps the views up to date; further ones stand by."""

from __future__ import annotations

from typing import Annotated

import typer

from meshline.cli.call import Call, command, group
from meshline.cli.loops import run_fast
from meshline.cli.own_views import known_projections
from meshline.cli.place import shown
from meshline.cli.processes import Service, show_logs, stop_signal, viewing_on

__all__ = ["app"]

app = group("Keep the views up to date; any number of them.")


@command(app, data=False, runner=run_fast)
async def projector(
    call: Call,
    projections: Annotated[
        list[str] | None,
        typer.Option(metavar="MODULE", help="Views of your own: package.module."),
    ] = None,
    accept_changed_code: Annotated[
        bool,
        typer.Option(
            "--accept-changed-code",
            help="Go on with views whose code has changed since they were built; it is recorded.",
        ),
    ] = False,
) -> None:
    """Keep the views up to date.

    Each view has one writer; further projectors stand by for it, in case that one dies. A view
    whose code has changed since it was built is not gone on with, until it is built anew with
    `meshline view rebuild`; the others are.

    \b
    Examples:
      meshline projector --log kafka://broker:9092/production --views postgresql://db/views
      meshline projector --projections company.views
    """
    show_logs()
    everything = known_projections(projections)
    views = call.place.views
    with stop_signal() as stop:
        async with (
            call.log() as log,
            viewing_on(
                log,
                views,
                everything,
                changed_code="accept" if accept_changed_code else "refuse",
                actor=call.actor.id,
            ) as viewing,
            Service(log, viewing=viewing) as service,
        ):
            call.out.say(f"Projector from {log.address} to {shown(views)}. Ctrl-C stops.")
            await service.during(stop.wait())
            call.out.say("Stopping after the commit that is under way.")
