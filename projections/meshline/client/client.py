"""Meshline for a program, over its HTTP API."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Iterable
from datetime import datetime
from types import TracebackType
from typing import Any, Self

import httpx

from meshline.client.connection import Connection
from meshline.client.remote_admissions import RemoteAdmissions
from meshline.client.remote_bulks import RemoteBulks
from meshline.client.remote_publisher import RemotePublisher
from meshline.client.remote_views import RemoteViews
from meshline.events.envelope import Position
from meshline.events.ids import run_id_of
from meshline.events.people_requests import TaskCompletionRequested
from meshline.events.publish import Answer, RequestAnswer, Trigger
from meshline.events.requests import ApprovalSubmitted, CancelRequested, Request
from meshline.projections.errors import NotFound
from meshline.projections.history_view import HistoryRow
from meshline.projections.runs_view import RunRow

__all__ = ["Meshline"]

ENDED = ("succeeded", "failed", "cancelled")
_POLL_S_MIN, _POLL_S_MAX = 0.1, 2.0


class Meshline:
    """Everything is tried again while that can help, and asking twice asks once.

    A run is named by its id, enough of its beginning, or ``SOURCE/ID`` of its trigger. ``views``
    has all that can be looked at, ``publisher`` all that can be asked, ``bulks`` acts on many,
    ``admissions`` lets in and shuts out.

    Args:
        server: its address.
        key: of the API (`meshline key create`), or a token of the identity provider.
        tries_max: of one call.
        transport: for tests: the application itself.
    """

    def __init__(
        self,
        server: str,
        key: str,
        *,
        timeout_s: float = 60.0,
        tries_max: int = 5,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._connection = Connection(
            server, key, timeout_s=timeout_s, tries_max=tries_max, transport=transport
        )
        self.views = RemoteViews(self._connection)
        self.publisher = RemotePublisher(self._connection)
        self.bulks = RemoteBulks(self._connection)
        self.admissions = RemoteAdmissions(self._connection)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        await self._connection.aclose()

    async def publish(
        self,
        source: str,
        payload: Any,
        *,
        trigger_id: str,
        trigger_type: str = "",
        time: datetime | None = None,
        wait_s: float | None = 10.0,
    ) -> Answer:
        """Publish a trigger, and return what became of it."""
        return await self.publisher.publish(
            source, payload, trigger_id=trigger_id, trigger_type=trigger_type, time=time,
            wait_s=wait_s,
        )  # fmt: skip

    def publish_many(
        self, triggers: Iterable[Trigger], *, wait_s: float | None = None
    ) -> AsyncIterator[Answer]:
        """Publish triggers, many at a time, and yield their answers in the same order."""
        return self.publisher.publish_many(triggers, wait_s=wait_s)

    async def run(self, run: str) -> RunRow:
        """Return the run as it is now.

        Raises:
            NotFound: there is none that the key may see, or more than one.
        """
        return await self.views.run(_id_of(run))

    async def runs(self, **filters: Any) -> AsyncIterator[RunRow]:
        """Yield all runs that fit, those that started last first; see ``Views.runs``."""
        after: str | None = None
        while True:
            page = await self.views.runs(after=after, limit=200, **filters)
            for row in page.rows:
                yield row
            after = page.next
            if after is None:
                return

    async def history(self, run: str) -> list[HistoryRow]:
        """Return all that was said about a run, in order: at least as far as ``run`` shows it."""
        rows: list[HistoryRow] = []
        row = await self.run(run)
        least = Position(row.partition, row.log_offset)
        while True:
            offset = rows[-1].log_offset if rows else -1
            page = await self.views.history(row.run_id, after_offset=offset, least=least)
            rows += page
            if len(page) < 1_000:
                return rows

    async def wait(
        self, run: str, *, until: Collection[str] = ENDED, timeout_s: float | None = None
    ) -> RunRow:
        """Return the run as soon as it is in one of these states, or has ended.

        Args:
            timeout_s: for a run that is not there yet too.
        Raises:
            TimeoutError: it is in none of them in time.
        """
        pause_s = _POLL_S_MIN
        async with asyncio.timeout(timeout_s):
            while True:
                try:
                    row = await self.run(run)
                    if row.state in until or row.state in ENDED:
                        return row
                except NotFound:
                    if timeout_s is None:
                        raise
                await asyncio.sleep(pause_s)
                pause_s = min(pause_s * 1.5, _POLL_S_MAX)

    async def approve(
        self, run: str, approval: str, *, form: Any = None, reason: str = ""
    ) -> RequestAnswer:
        """Approve what a run asks for, in the name of the key's owner."""
        return await self.ask(
            run, ApprovalSubmitted(approval=approval, decision="approved", form=form, reason=reason)
        )

    async def complete(
        self, run: str, task: str, *, form: Any = None, reason: str = ""
    ) -> RequestAnswer:
        """Complete a task that the run waits for, with what is filled in."""
        return await self.ask(run, TaskCompletionRequested(task=task, form=form, reason=reason))

    async def deny(self, run: str, approval: str, *, reason: str) -> RequestAnswer:
        """Deny what a run asks for."""
        return await self.ask(
            run, ApprovalSubmitted(approval=approval, decision="denied", reason=reason)
        )

    async def cancel(self, run: str, *, reason: str) -> RequestAnswer:
        """End a run; what it has done is undone where its workflow says how."""
        return await self.ask(run, CancelRequested(reason=reason))

    async def ask(
        self,
        run: str,
        request: Request,
        *,
        wait_s: float | None = 10.0,
        key: str | None = None,
        if_match: str | None = None,
    ) -> RequestAnswer:
        """Ask anything of a run; see ``meshline.events.requests``.

        Args:
            key: the Idempotency-Key, for a program that may ask again after its own end.
            if_match: the tag of what was seen.
        """
        return await self.publisher.request(
            _id_of(run), request, event_id=key, wait_s=wait_s, if_match=if_match
        )


def _id_of(run: str) -> str:
    source, slash, trigger_id = run.partition("/")
    return run_id_of(source, trigger_id) if slash else run
