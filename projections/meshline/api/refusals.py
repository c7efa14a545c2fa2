"""What was turned away here is told to the keeper, so that it stands in the history.

Bounded: what one asks in vain again and again is counted, and told once in a while. A flood of
refused calls can't fill the log.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from dataclasses import dataclass, field
from typing import NamedTuple

from fastapi import Request

from meshline.events.envelope import Actor
from meshline.events.errors import MeshlineError
from meshline.events.ids import run_id_of
from meshline.events.people_requests import ACCESS, AccessChangeRequested
from meshline.events.publish import Publisher
from meshline.events.requests import RefusalReported
from meshline.events.requests import Request as AskedRequest
from meshline.events.text import cleaned
from meshline.projections.errors import NotFound
from meshline.projections.queries import Views

__all__ = ["NOBODY", "Attempt", "Refusals"]

_logger = logging.getLogger("meshline.audit")

NOBODY = Actor("system", "anonymous")
"""Who asked, where nobody knows."""

GAP_S = 10.0
"""Between two reports of what is refused alike."""

GROUPS_MAX = 500
"""Kinds of refusals that are counted apart at one time; all others are counted together."""


class Attempt(NamedTuple):
    """What somebody tried: the type that would have been appended, and about what."""

    asks: type[AskedRequest]
    run: str | None = None
    exception: str | None = None
    trigger: tuple[str, str] | None = None

    @staticmethod
    def of(asks: type[AskedRequest], request: Request) -> Attempt:
        """Read it from path and query; what there is not is left open."""
        path, query = request.path_params, request.query_params
        source = query.get("source")
        trigger_id = query.get("id") or request.headers.get("idempotency-key")
        return Attempt(
            asks,
            run=path.get("run"),
            exception=path.get("exception"),
            trigger=(source, trigger_id) if source and trigger_id else None,
        )


@dataclass(slots=True)
class _Group:
    attempt: Attempt
    code: str
    reason: str
    actor: Actor
    times: int = 0
    more: asyncio.Event = field(default_factory=asyncio.Event)


class Refusals:
    """Tells the keepers what was refused, in the background.

    Args:
        views: unscoped, to find the run that an attempt was about.
        gap_s: between two reports of what is refused alike.
    """

    def __init__(self, publisher: Publisher, views: Views, *, gap_s: float = GAP_S) -> None:
        self._publisher = publisher
        self._views = views
        self._gap_s = gap_s
        self._groups: dict[tuple[str, str, str], _Group] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._closing = asyncio.Event()

    def note(self, attempt: Attempt, actor: Actor | None, error: MeshlineError) -> None:
        """Let it be told that this was refused."""
        who = actor or NOBODY
        code = getattr(error, "reason", error.code)
        key = (who.id, attempt.asks.TYPE, code)
        if key not in self._groups and len(self._groups) >= GROUPS_MAX:
            key, who = (NOBODY.id, attempt.asks.TYPE, code), NOBODY
        group = self._groups.get(key)
        if group is None:
            group = self._groups[key] = _Group(attempt, code, error.message, who)
            task = asyncio.create_task(self._tell(key, group))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        group.attempt, group.reason = attempt, error.message
        group.times += 1

    async def aclose(self) -> None:
        """Tell what is still to be told."""
        self._closing.set()
        while self._tasks:
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _tell(self, key: tuple[str, str, str], group: _Group) -> None:
        # The first at once; what comes meanwhile is counted, and told after the gap.
        while group.times:
            times, group.times = group.times, 0
            asked = group.attempt.asks.TYPE
            _logger.warning("%s was refused %s (%s) %d times", key[0], asked, group.code, times)
            try:
                await self._append(group, times)
            except MeshlineError as error:
                _logger.warning("%d refusals could not be told to the log: %s", times, error)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._gap_s):
                    await self._closing.wait()
        del self._groups[key]

    async def _append(self, group: _Group, times: int) -> None:
        run_id = await self._run_of(group.attempt)
        if run_id is None:
            return
        told = RefusalReported(
            request=group.attempt.asks.TYPE,
            code=group.code,
            reason=cleaned(group.reason, 2_000),
            times=times,
        )
        await self._publisher.request(run_id, told, actor=group.actor)

    async def _run_of(self, attempt: Attempt) -> str | None:
        """Return the run or subject that it was about; None if there is none to say it of."""
        if attempt.asks is AccessChangeRequested:
            return ACCESS
        try:
            if attempt.trigger is not None:
                return run_id_of(*attempt.trigger)
            if attempt.exception is not None:
                return (await self._views.exception(attempt.exception)).run_id
            if attempt.run is not None:
                return (await self._views.run(attempt.run)).run_id
        except NotFound:
            pass
        return None
