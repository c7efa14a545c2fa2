"""``meshline message send``: what a run waits for from outside."""

from __future__ import annotations

from typing import Annotated

import typer

from meshline.cli.asking import ask_about, json_value
from meshline.cli.call import Call, command, group
from meshline.cli.run_ids import RunId
from meshline.events.requests import MessageReceived

__all__ = ["app"]

app = group("Messages: what runs wait for from outside.")


@app.callback()
def _group() -> None:
    """Messages: what runs wait for from outside."""


@command(app, asks=True)
async def send(
    call: Call,
    run: RunId,
    name: Annotated[str, typer.Argument(metavar="NAME", help="As the workflow calls it.")],
    payload: Annotated[str | None, typer.Argument(metavar="JSON")] = None,
) -> None:
    """Send a message to a run; it is kept if the run has not come to its wait yet.

    \b
    Examples:
      meshline message send 1f0c2a9b contract_signed '{"by": "Ada Lindqvist"}'
    """
    value = json_value(payload, "JSON")
    await ask_about(call, run, MessageReceived(name=name, payload=value))
