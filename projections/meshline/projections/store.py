"""What keeps views: the protocol that PostgreSQL and the double in memory both fulfil."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, NamedTuple, Protocol, TypeVar

from meshline.events.envelope import Position
from meshline.events.errors import LogIdentityChanged
from meshline.events.log import LogIdentity
from meshline.projections.errors import CheckpointMoved, CodeChanged, ViewLayoutChanged
from meshline.projections.projection import Key, Projection, Row, Table
from meshline.projections.rows import TableChange

__all__ = [
    "Change",
    "Checkpoint",
    "Installed",
    "Parked",
    "Segment",
    "Stop",
    "Times",
    "ViewState",
    "ViewStatus",
    "ViewStore",
    "check_layout",
    "check_log",
    "checkpoint_moved",
    "code_changed",
    "layout_of",
]

R = TypeVar("R", bound=Row)
ViewState = Literal["live", "building", "warm", "retired"]


class Checkpoint(NamedTuple):
    """How far a view has read one partition, and what a reader must know to go on there.

    Args:
        offset: of the next record to read.
        epoch: of the fence (see ``meshline.events.fence``) before that record.
        sequence: of the fence.
        event_id: of the last record read; it is read again on resuming, and must be the same.
        recorded_ms: when the log took that record (milliseconds, Unix).
    """

    offset: int = 0
    epoch: int = -1
    sequence: int = 0
    event_id: str = ""
    recorded_ms: int = 0


class Segment(NamedTuple):
    """Records of a partition that are read: from ``start``, with its fence, to before ``end``."""

    start: Checkpoint
    end: int


Stop = tuple[int, str]
"""A partition and an entity of which an event is parked. Only within a partition there is a later
and an earlier: an event stops those of its entity that come after it there, and no others."""


class Parked(NamedTuple):
    """An event that a view could not apply, or that waits behind one of the same entity.

    ``why``: ``failed`` (the projection's code raised, or made a row that can't be kept),
    ``unreadable`` (this program can't read the event), ``behind`` (an earlier event of the entity
    is parked). ``stops`` says whether later events of the entity wait behind it.
    """

    position: Position
    entity: str
    event_type: str
    why: Literal["failed", "unreadable", "behind"]
    stops: bool
    error: str = ""
    stack: str = ""

    @property
    def stop(self) -> Stop:
        """What it stops, if it does, or what it waits for."""
        return self.position.partition, self.entity


class Times(NamedTuple):
    """The bounds of some events' times: ``event`` when they happened, ``recorded`` when told."""

    event_min: datetime
    event_max: datetime
    recorded_min: datetime
    recorded_max: datetime

    def and_(self, other: Times) -> Times:
        """Return the bounds of both together."""
        return Times(
            min(self.event_min, other.event_min),
            max(self.event_max, other.event_max),
            min(self.recorded_min, other.recorded_min),
            max(self.recorded_max, other.recorded_max),
        )


@dataclass(frozen=True, slots=True)
class Change:
    """What one batch does to one view, rows and checkpoints together: all of it or nothing.

    What is ``freed`` goes before what is ``parked`` is added: an event may be parked again.

    ``times``: of the events that the view handles, for views of the past (see ``snapshots.py``);
    None where there are none.
    """

    projection: Projection
    before: Mapping[int, Checkpoint]
    after: Mapping[int, Checkpoint]
    tables: Sequence[TableChange]
    parked: Sequence[Parked] = ()
    times: Times | None = None
    freed: Sequence[Position] = ()


@dataclass(frozen=True, slots=True)
class Installed:
    """A view as the store has it: where to go on, and what is stopped."""

    state: ViewState
    checkpoints: dict[int, Checkpoint]
    stopped: frozenset[Stop]


@dataclass(frozen=True, slots=True)
class ViewStatus:
    """A view as operators see it.

    Args:
        build: 1 for the first of a version; each rebuild of the same version counts one up.
        bulk: a rebuild loads it; it has no indexes yet.
        wish: what was asked of the rebuild: run, pause or cancel.
        scratch: made to be compared, then dropped.
        error: what stopped its writer last; empty where all is well.
    """

    name: str
    version: int
    state: ViewState
    code_hash: str
    log_id: str
    checkpoints: dict[int, Checkpoint]
    updated_at: datetime | None
    parked: int
    stopped: int
    build: int = 1
    bulk: bool = False
    wish: str = "run"
    scratch: bool = False
    error: str = ""


class ViewStore(Protocol):
    """Keeps the rows, checkpoints and parked events of views. One writer at a time for each view.

    Every method may raise ``StoreUnavailable``; the caller tries again later.
    """

    async def open(self) -> None:
        """Connect, and make what the store itself needs."""
        ...

    async def aclose(self) -> None: ...

    async def install(self, projection: Projection, identity: LogIdentity) -> Installed:
        """Make the view's tables if they are not there, and return where to go on.

        The first version of a projection is live at once; a later one builds beside it.

        Raises:
            LogIdentityChanged: the view was built from another log.
            ViewLayoutChanged: the version was built with other tables.
        """
        ...

    async def acquire(self, projection: Projection) -> bool:
        """Become the view's writer, if nobody else is; ends with ``release`` or the connection."""
        ...

    async def release(self, projection: Projection) -> None: ...

    async def load(self, table: Table[Any], keys: Sequence[Key]) -> dict[Key, Row]:
        """Return the rows that there are for these keys."""
        ...

    async def commit(self, changes: Sequence[Change]) -> None:
        """Write all the changes in one transaction.

        Raises:
            CheckpointMoved: a view's checkpoint is not what ``before`` says; nothing is written.
            RowRefused: a row can't be kept; nothing is written.
        """
        ...

    async def make_live(self, name: str, version: int) -> None:
        """Let the stable names show this version; the one before it stays warm."""
        ...

    async def rows(self, table: Table[R]) -> list[R]:
        """Return all rows of a table, in the order of their keys."""
        ...

    async def parked(self, projection: Projection) -> list[Parked]:
        """Return what the view could not apply, in the order of the log."""
        ...

    async def parked_at(self, projection: Projection, position: Position) -> Parked | None:
        """Return what is parked there."""
        ...

    async def parked_of(self, projection: Projection, stop: Stop) -> list[Parked]:
        """Return what is parked of an entity in a partition, in the order of the log."""
        ...

    async def status(self) -> list[ViewStatus]:
        """Return all views, by name and version."""
        ...

    async def live_checkpoints(self, names: Iterable[str]) -> dict[str, dict[int, int]]:
        """Return the next offset of each partition, for the live version of each name."""
        ...


def layout_of(projection: Projection) -> dict[str, Any]:
    """Return the projection's tables as data: what must not change within a version."""
    return {
        "tables": {
            table.name: {
                "columns": [[c.name, c.sql_type, c.nullable] for c in table.columns],
                "key": [*table.key],
                "indexes": [[*index] for index in table.indexes],
                "append_only": table.append_only,
            }
            for table in projection.tables
        },
        "queries": dict(projection.queries),
    }


def check_layout(projection: Projection, built: Any) -> None:
    """Raise ``ViewLayoutChanged`` unless the version was built with the tables as they are."""
    now = layout_of(projection)
    changed = [
        name
        for part in ("tables", "queries")
        for name in sorted({*now[part], *built[part]})
        if now[part].get(name) != built[part].get(name)
    ]
    if changed:
        raise ViewLayoutChanged(
            f"The tables of {projection.name} version {projection.version} are not those that it "
            f"was built with: {', '.join(changed)} differ. Expected the same rows in one version: "
            f"declare version {projection.version + 1}."
        )


def check_log(projection: Projection, log_id: str, identity: LogIdentity) -> None:
    """Raise ``LogIdentityChanged`` unless the view was built from this log."""
    if log_id != identity.log_id:
        raise LogIdentityChanged(
            f"The view {projection.name} was built from log {log_id}, but this is log "
            f"{identity.log_id}. Expected one log for ever: correct the log's address, or use an "
            "empty database for the views."
        )


def checkpoint_moved(projection: Projection) -> CheckpointMoved:
    return CheckpointMoved(
        f"{projection.name} v{projection.version}",
        f"Another projector has written {projection.name} version {projection.version}, or its "
        "build was dropped: expected to be the only one. Nothing was written here; this one stands "
        "by.",
    )


def code_changed(projection: Projection) -> CodeChanged:
    return CodeChanged(
        f"The code of the view {projection.name} has changed since version {projection.version} "
        "was built: expected the code that made its rows. Build it anew with "
        f"`meshline view rebuild {projection.name}`, then `meshline view swap {projection.name}`; "
        "if the change makes no difference, start with --accept-changed-code."
    )
