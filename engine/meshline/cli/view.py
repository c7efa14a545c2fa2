"""``meshline view``: the views, how far they are behind the log, and what stops them."""

from __future__ import annotations

from typing import Any, NamedTuple

from meshline.cli.call import Call, command, group
from meshline.cli.tables import Column
from meshline.cli.view_diff import diff

__all__ = ["app"]

app = group("Views: the tables that are made from the log.")


@app.callback()
def _group() -> None:
    """Views: the tables that are made from the log."""


command(app)(diff)


class ViewLine(NamedTuple):
    """A view, how far it is behind, and what it could not take in."""

    name: str
    version: int
    state: str
    behind_events: int
    behind_s: float
    parked: int
    stopped: int


COLUMNS = (
    Column("view", lambda v: v.name),
    Column("version", lambda v: str(v.version), right=True),
    Column("state", lambda v: v.state),
    Column("behind", lambda v: f"{v.behind_events:,}", right=True),
    Column("by", lambda v: f"{v.behind_s:.1f}s" if v.behind_events else "", right=True),
    Column("parked", lambda v: str(v.parked), right=True),
    Column("stopped", lambda v: str(v.stopped), right=True),
)


@command(app, "list")
async def list_views(call: Call) -> None:
    """List the views: how many events they are behind, and what they could not take in.

    A parked event stops its own run in that view, and no other.

    \b
    Examples:
      meshline view list
    """
    async with call.log() as log, call.views() as views:
        lines = view_lines(await views.lag(log), await views.status())
    call.out.rows(lines, COLUMNS, empty="There are no views yet: start `meshline projector`.")


def view_lines(lags: Any, statuses: Any) -> list[ViewLine]:
    """Return what the two say about each view, together."""
    known = {(status.name, status.version): status for status in statuses}
    return [
        ViewLine(
            lag.name, lag.version, lag.state, lag.events, lag.seconds,
            known[lag.name, lag.version].parked, known[lag.name, lag.version].stopped,
        )
        for lag in lags
    ]  # fmt: skip
