"""``meshline view``: the views, how far they are behind the log, and what stops them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from meshline.cli.call import Call, command, group
from meshline.cli.own_views import known_projections
from meshline.cli.tables import Column
from meshline.cli.view_builds import builds_at, retire, rollback, swap
from meshline.cli.view_diff import diff
from meshline.cli.view_free import retry, skip
from meshline.cli.view_parked import parked
from meshline.cli.view_rebuild import cancel, pause, rebuild, resume, verify
from meshline.cli.view_rows import rows

if TYPE_CHECKING:
    from meshline.projections.store import ViewStatus

__all__ = ["app"]

app = group("Views: the tables that are made from the log.")


@app.callback()
def _group() -> None:
    """Views: the tables that are made from the log."""


command(app)(diff)
command(app)(parked)
command(app, past=True)(rows)
command(app, asks=True)(retry)
command(app, asks=True)(skip)


for _function in (rebuild, swap, rollback, retire, verify, pause, resume, cancel):
    command(app, data=_function in (rebuild, verify))(_function)


class ViewLine(NamedTuple):
    """A build of a view, how far it is behind, and what it could not take in.

    ``rows`` is PostgreSQL's estimate; ``snapshot_bytes`` is what is kept to look at the past.
    ``code_changed`` is None where its code is not at hand.
    """

    name: str
    version: int
    build: int
    state: str
    positions: dict[int, int]
    behind_events: int
    behind_s: float
    rows: int
    bytes: int
    snapshot_bytes: int
    parked: int
    stopped: int
    code_changed: bool | None
    error: str


COLUMNS = (
    Column("view", lambda v: v.name),
    Column("version", lambda v: str(v.version), right=True),
    Column("build", lambda v: str(v.build), right=True),
    Column("state", lambda v: v.state),
    Column("position", lambda v: f"{sum(v.positions.values()):,}", right=True),
    Column("behind", lambda v: f"{v.behind_events:,}", right=True),
    Column("for", lambda v: f"{v.behind_s:.1f}s" if v.behind_events else "", right=True),
    Column("rows", lambda v: f"{v.rows:,}", right=True),
    Column("size", lambda v: f"{v.bytes / 1e6:,.1f} MB", right=True),
    Column("snapshots", lambda v: f"{v.snapshot_bytes / 1e6:,.1f} MB", right=True),
    Column("parked", lambda v: str(v.parked), right=True),
    Column("stopped", lambda v: str(v.stopped), right=True),
    Column("code", lambda v: {True: "changed", False: "", None: "not here"}[v.code_changed]),
    Column("error", lambda v: v.error.partition(":")[0][:60]),
)
CHANGES = (
    Column("at", lambda c: f"{c.at:%Y-%m-%d %H:%M:%S}"),
    Column("view", lambda c: c.name),
    Column("what", lambda c: c.what),
    Column("from", lambda c: _build_text(c.from_version, c.from_build)),
    Column("to", lambda c: _build_text(c.to_version, c.to_build)),
    Column("by", lambda c: c.actor),
)


OVER_A_SERVER = (
    Column("view", lambda v: v.name),
    Column("version", lambda v: f"v{v.version} b{v.build}"),
    Column("state", lambda v: v.state, stateful=True),
    Column("events behind", lambda v: str(v.events), right=True),
    Column("seconds", lambda v: f"{v.seconds:.1f}", right=True),
)
"""What a server tells of its views."""


@command(app, "list")
async def list_views(
    call: Call,
    history: Annotated[
        bool, typer.Option("--history", help="What was swapped, rolled back and retired, by whom.")
    ] = False,
) -> None:
    """List the views: how many events they are behind, and what they could not take in.

    A parked event stops its own run in that view, and no other. "changed" says that the code at
    hand is not what the build was made with.

    \b
    Examples:
      meshline view list
      meshline view list --history
    """
    if call.given.server is not None:
        from meshline.client import RemoteViews

        async with call.connection() as connection:
            lags = await RemoteViews(connection).lag()
        call.out.rows(lags, OVER_A_SERVER, empty="There are no views yet.")
        return
    async with builds_at(call, only_look=True) as books:
        if history:
            async with call.views() as views:
                await views.status()
            call.out.rows(await books.history(), CHANGES, empty="Nothing was swapped yet.")
            return
        async with call.log() as log, call.views() as views:
            lines = view_lines(await views.lag(log), await views.status(), await books.sizes())
    call.out.rows(lines, COLUMNS, empty="There are no views yet: start `meshline projector`.")


def _build_text(version: int | None, build: int | None) -> str:
    return "" if version is None else f"v{version} b{build}"


def _state_of(status: ViewStatus) -> str:
    if not status.bulk:
        return status.state
    return "paused" if status.wish == "pause" else "loading"


def view_lines(lags: Any, statuses: Any, sizes: Any) -> list[ViewLine]:
    """Return what these say about each build, together."""
    from meshline.projections.code_hash import code_hash_of

    now = {(p.name, p.version): code_hash_of(p) for p in known_projections()}
    known = {(status.name, status.version, status.build): status for status in statuses}
    lines = []
    for lag in lags:
        build = (lag.name, lag.version, lag.build)
        status, (rows, size, snapshots) = known[build], sizes.get(build, (0, 0, 0))
        code = now.get((lag.name, lag.version))
        lines.append(
            ViewLine(
                lag.name,
                lag.version,
                lag.build,
                _state_of(status),
                {p: checkpoint.offset for p, checkpoint in status.checkpoints.items()},
                lag.events,
                lag.seconds,
                rows,
                size,
                snapshots,
                status.parked,
                status.stopped,
                None if code is None else code != status.code_hash,
                status.error,
            )
        )
    return lines
