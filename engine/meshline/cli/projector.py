"""``meshline projector``: keeps the views up to date; further ones stand by."""

from __future__ import annotations

from meshline.cli.call import Call, command, group
from meshline.cli.loops import run_fast
from meshline.cli.place import shown
from meshline.cli.processes import Service, show_logs, stop_signal, viewing_on

__all__ = ["app"]

app = group("Keep the views up to date; any number of them.")


@command(app, data=False, runner=run_fast)
async def projector(call: Call) -> None:
    """Keep the views up to date.

    Each view has one writer; further projectors stand by for it, in case that one dies.

    \b
    Examples:
      meshline projector --log kafka://broker:9092/production --views postgresql://db/views
    """
    show_logs()
    views = call.place.views
    with stop_signal() as stop:
        async with (
            call.log() as log,
            viewing_on(log, views) as viewing,
            Service(log, viewing=viewing) as service,
        ):
            call.out.say(f"Projector from {log.address} to {shown(views)}. Ctrl-C stops.")
            await service.during(stop.wait())
            call.out.say("Stopping after the commit that is under way.")
