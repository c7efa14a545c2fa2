"""``meshline workflow list``: the definitions that the log knows."""

from __future__ import annotations

from meshline.cli.call import Call, command, group
from meshline.cli.tables import Column

__all__ = ["app"]

app = group("Workflows: the definitions that the log knows.")

COLUMNS = (
    Column("workflow", lambda w: f"{w.workflow} v{w.version}"),
    Column("trigger", lambda w: w.trigger_type),
    Column("source", lambda w: w.source),
    Column("owner", lambda w: w.owner),
    Column("exception route", lambda w: w.exception_route),
    Column("expected outcome", lambda w: w.expected_outcome),
    Column("hash", lambda w: w.spec_hash),
)


@app.callback()
def _group() -> None:
    """Workflows: the definitions that the log knows."""


@command(app, "list")
async def list_workflows(call: Call) -> None:
    """List every definition that a worker has registered, with its five answers.

    \b
    Examples:
      meshline workflow list
      meshline workflow list --output json | jq '.[].spec'
    """
    async with call.views() as views:
        rows = await views.workflows()
    call.out.rows(rows, COLUMNS, empty="No worker has registered a workflow yet.")
