"""Seeing that a source has fallen silent, and saying so: what comes of it, the keeper decides.

No keeper can see it: triggers of one source are in all partitions. The views know them all. So each
projector looks now and then, when its views have read the log to its end, and appends what it saw
as requests whose ids follow from the silence itself. Any number of watchers may say it, and say it
again after they were killed: it is one run, and one exception.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from meshline.events.clock import Clock, SystemClock
from meshline.events.codec import encode
from meshline.events.envelope import Actor, Event, Position
from meshline.events.errors import MeshlineError
from meshline.events.ids import partition_of, run_id_of
from meshline.events.log import Accepted, Entry, EventLog
from meshline.events.requests import ActivityReported, Request, TriggerReceived
from meshline.projections.errors import NotFound
from meshline.workflow.silence import (
    HEARD,
    SILENT,
    UNWATCHED,
    SourceSilent,
    silence_name,
    silence_source,
)

if TYPE_CHECKING:
    from meshline.projections.queries import Views
    from meshline.projections.runs_view import RunRow
    from meshline.projections.workflows_view import WorkflowRow

__all__ = ["SilenceWatch"]

LOOK_S_MAX, LOOK_S_MIN = 10.0, 1.0
"""How often is looked: four times within the shortest silence, but neither less nor more."""

VIEWS_BEHIND_S_MAX = 5.0
"""For the views to read the log to its end; if they do not, nothing can be said."""

AGAIN_S = 3600.0
"""What nobody answered, or what was refused, is said again after so long."""

OPEN_MAX = 100
"""Silences of one workflow that are looked after at once; there is one, or a few from old times."""

_OPEN = ("running", "waiting", "held", "paused")
_VIEWS = ("triggers", "runs", "workflows", "history")
_WATCH = Actor("system", "silence-watch")

logger = logging.getLogger("meshline.silence")


class SilenceWatch:
    """Looks at the views of one log, and appends to it."""

    def __init__(self, log: EventLog, views: Views, clock: Clock | None = None) -> None:
        self._log = log
        self._views = views
        self._clock = clock or SystemClock()
        self._last: dict[tuple[str, str], datetime] = {}
        self._look_s = LOOK_S_MAX

    async def run(self) -> None:
        """Look until cancelled; what goes wrong is said, and looked at again."""
        while True:
            try:
                await self.look()
            except NotFound:
                # The projector beside this has not made the views yet: it says what hinders it.
                logger.debug("There are no views yet")
            except (MeshlineError, OSError) as error:
                logger.warning("Cannot see whether a source is silent: %s", error)
            await asyncio.sleep(self._look_s)

    async def look(self) -> int:
        """Say what is to be said now; return the number of requests.

        Raises:
            NotReached: the views are behind the log, so that silence can't be told from delay.
        """
        now = self._clock.now()
        if not any(_is_of_silence(row) for row in await self._views.workflows()):
            return 0
        # What came before now is in the log; what is in the log by then is in the views.
        ends = await self._log.ends()
        await self._views.reached(
            [Position(partition, end - 1) for partition, end in ends.items() if end],
            _VIEWS,
            timeout_s=VIEWS_BEHIND_S_MAX,
        )
        rows = await self._views.workflows()
        newest = _newest(rows)
        watched = [row for row in newest.values() if row.spec.get("silent_after_s") is not None]
        shortest_s = min((row.spec["silent_after_s"] for row in watched), default=LOOK_S_MAX * 4)
        self._look_s = min(LOOK_S_MAX, max(LOOK_S_MIN, shortest_s / 4))
        said = 0
        for row in watched:
            said += await self._look_at(row, rows, now)
        names = {silence_name(row.workflow) for row in watched}
        for name in sorted({row.workflow for row in rows if _is_of_silence(row)} - names):
            for run in await self._open(name):
                said += await self._close(run, UNWATCHED, now)
        return said

    async def _look_at(self, row: WorkflowRow, rows: Sequence[WorkflowRow], now: datetime) -> int:
        last = await self._last_received(row.source, row.trigger_type)
        said = 0
        for run in await self._open(silence_name(row.workflow)):
            if last is not None and last > datetime.fromisoformat(run.trigger_id):
                said += await self._close(run, HEARD, now)
        # What was never heard is silent since it was first expected.
        since = last or min(r.registered_at for r in rows if r.workflow == row.workflow)
        if now - since > timedelta(seconds=row.spec["silent_after_s"]):
            said += await self._begin(row, since.astimezone(UTC), now)
        return said

    async def _last_received(self, source: str, trigger_type: str) -> datetime | None:
        known = self._last.get((source, trigger_type))
        last = await self._views.last_received(source, trigger_type, known) or known
        if last is not None:
            self._last[source, trigger_type] = last
        return last

    async def _open(self, name: str) -> list[RunRow]:
        return (await self._views.runs(states=_OPEN, workflow=name, limit=OPEN_MAX)).rows

    async def _begin(self, row: WorkflowRow, since: datetime, now: datetime) -> int:
        source, trigger_id = silence_source(row.workflow), since.isoformat()
        asked = (await self._views.triggers(source=source, trigger_id=trigger_id, limit=1)).rows
        if asked and (
            asked[0].status in ("accepted", "repeated")
            or now - asked[0].received_at < timedelta(seconds=AGAIN_S)
        ):
            return 0
        # In the trigger is only what stays the same however often it is said.
        payload = SourceSilent(
            workflow=row.workflow, source=row.source, trigger_type=row.trigger_type, since=since
        ).model_dump(mode="json")
        run_id = run_id_of(source, trigger_id)
        trigger = TriggerReceived(
            source=source, trigger_id=trigger_id, trigger_type=SourceSilent.__name__,
            payload=payload,
        )  # fmt: skip
        report = payload | {"silent_after_s": row.spec["silent_after_s"]}
        return await self._say(
            run_id, now, trigger, ActivityReported(activity=SILENT, payload=report)
        )

    async def _close(self, run: RunRow, how: str, now: datetime) -> int:
        history = await self._views.history(run.run_id)
        since = now - timedelta(seconds=AGAIN_S)
        said = (
            row for row in history if row.data.get("activity") == how and row.recorded_at > since
        )
        if any(said):
            return 0
        return await self._say(run.run_id, now, ActivityReported(activity=how))

    async def _say(self, run_id: str, now: datetime, *asked: Request) -> int:
        """Append all of it as one batch: a watcher that is killed has said all or nothing."""
        partition = partition_of(run_id, self._log.identity.partitions)
        entries = [Entry(run_id, encode(_event(run_id, now, data))) for data in asked]
        result = await self._log.append(partition, entries)
        if not isinstance(result, Accepted):
            # It is seen again with the next look, and said with the same ids.
            logger.warning("A silence could not be said (%s); it is said again", result)
            return 0
        return len(entries)


def _event(run_id: str, now: datetime, data: Request) -> Event[Any]:
    about = data.activity if isinstance(data, ActivityReported) else "trigger"
    return Event(
        # The same report has the same id, whoever makes it: the keeper takes in the first.
        id=str(uuid.uuid5(uuid.UUID(run_id), about)),
        source="meshline/silence-watch",
        subject=run_id,
        time=now,
        data=data,
        recorded_at=now,
        actor=_WATCH,
    )


def _is_of_silence(row: WorkflowRow) -> bool:
    return row.spec.get("silence_of") is not None


def _newest(rows: Sequence[WorkflowRow]) -> dict[str, WorkflowRow]:
    """Return the newest version of each workflow."""
    newest: dict[str, WorkflowRow] = {}
    for row in rows:
        known = newest.get(row.workflow)
        if known is None or row.version >= known.version:
            newest[row.workflow] = row
    return newest
