"""``meshline webhook``: which senders may start runs, and the secrets that they sign with."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from meshline.cli.call import Call, command, group
from meshline.cli.place import HOME
from meshline.cli.tables import Column

if TYPE_CHECKING:
    from meshline.api.webhooks import Webhooks

__all__ = ["FILE", "app", "webhooks_at"]

app = group("Webhooks: senders that sign what they send, and start runs with it.")

FILE = "webhooks.toml"

File = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Instead of webhooks.toml in the folder of this Meshline."),
]
Name = Annotated[str, typer.Argument(metavar="NAME", help="It is posted to /v1/hooks/NAME.")]


@command(app)
async def create(
    call: Call,
    name: Name,
    source: Annotated[str, typer.Option(help="The source of its triggers.")],
    scheme: Annotated[
        Literal["standard", "github", "stripe"], typer.Option(help="How the sender signs.")
    ] = "standard",
    trigger_type: Annotated[
        str, typer.Option("--type", help="Where the source starts several workflows.")
    ] = "",
    id_pointer: Annotated[
        str | None, typer.Option(metavar="/id", help="Where in the body the sender's id stands.")
    ] = None,
    secret: Annotated[
        str | None, typer.Option(help="The sender's own; else one is made, and shown once.")
    ] = None,
    file: File = None,
) -> None:
    """Take webhooks of a sender: a delivery that is signed with the secret is a trigger.

    The secret is kept in a file for this user alone, because a signature can't be verified without
    it. Running servers read the file again.

    \b
    Examples:
      meshline webhook create billing --source billing.events
      meshline webhook create issues --source github.issues --scheme github
      meshline webhook create payments --source stripe.events --scheme stripe --secret whsec_…
    """
    from meshline.api.webhooks import Webhook, new_secret

    chosen = secret or new_secret(scheme)
    webhook = Webhook(
        scheme=scheme, source=source, type=trigger_type, id_pointer=id_pointer, secrets=[chosen]
    )
    webhooks_at(call, file).create(name, webhook)
    data = {"name": name, "path": f"/v1/hooks/{name}", "secret": chosen, "source": source}
    call.out.thing(data, lambda: chosen)
    call.out.say(f"It is posted to /v1/hooks/{name}. The secret is not shown again.")


@command(app, "list")
async def list_webhooks(call: Call, file: File = None) -> None:
    """List the webhooks, without their secrets.

    \b
    Examples:
      meshline webhook list
    """
    rows = [
        {"name": name, **webhook.model_dump(exclude={"secrets"}), "secrets": len(webhook.secrets)}
        for name, webhook in webhooks_at(call, file).all().items()
    ]
    call.out.rows(rows, COLUMNS, empty="There is no webhook yet.")


COLUMNS = (
    Column("name", lambda w: w["name"], whole=True),
    Column("scheme", lambda w: w["scheme"]),
    Column("source", lambda w: w["source"]),
    Column("type", lambda w: w["type"]),
    Column("id", lambda w: w["id_pointer"] or "of the delivery"),
    Column("secrets", lambda w: str(w["secrets"]), right=True),
)


@command(app)
async def rotate(
    call: Call,
    name: Name,
    secret: Annotated[
        str | None, typer.Option(help="The sender's own; else one is made, and shown once.")
    ] = None,
    file: File = None,
) -> None:
    """Let a new secret count; the one before still does, until the next time.

    \b
    Examples:
      meshline webhook rotate billing
    """
    from meshline.api.webhooks import new_secret

    webhooks = webhooks_at(call, file)
    scheme = webhooks.all()[name].scheme if name in webhooks.all() else "standard"
    chosen = secret or new_secret(scheme)
    webhooks.rotate(name, chosen)
    call.out.thing({"name": name, "secret": chosen}, lambda: chosen)


@command(app)
async def remove(call: Call, name: Name, file: File = None) -> None:
    """Take nothing more from a webhook.

    \b
    Examples:
      meshline webhook remove billing
    """
    webhooks_at(call, file).remove(name)
    call.out.say(f"Nothing is taken from {name} any more.")


def webhooks_at(call: Call, file: Path | None) -> Webhooks:
    """Return the webhooks of the file that was named, or of the folder."""
    from meshline.api.webhooks import Webhooks

    return Webhooks(file or (call.given.home or HOME) / FILE)
