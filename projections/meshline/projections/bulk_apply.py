"""Doing what a bulk list says, item by item.

What has changed since the list was made is left out, and said. The id of an item's request follows
from the list and the item, so whoever is killed in the middle and begins again repeats nothing; and
each request says in the history which list it belongs to, and why.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import NamedTuple

from meshline.events.envelope import Actor, Position
from meshline.events.log import EventLog
from meshline.events.publish import Publisher
from meshline.projections.bulk import Bulks
from meshline.projections.bulk_corrections import Trial, Trials
from meshline.projections.bulk_list import BulkItem, BulkList, request_of
from meshline.projections.errors import NotFound, NotReady
from meshline.projections.queries import Views

__all__ = ["applied", "check_confirmed"]

AT_ONCE = 50
"""Items that are asked at the same time: they go out as few batches."""

VIEWS_S = 30.0

_ENDED = frozenset({"unknown_exception", "already_ended"})
"""A keeper that refuses so says that what was meant is over, though the views did not show it."""


async def applied(
    bulks: Bulks,
    name: str,
    views: Views,
    publisher: Publisher,
    log: EventLog,
    *,
    actor: Actor,
    wait_s: float = 30.0,
) -> AsyncGenerator[BulkItem]:
    """Do what the list says, item by item, and give each with its result.

    Begun again, it goes on with what has no result yet. ``unanswered`` items are in the log, and
    are looked up when it is begun once more.

    Raises:
        NotFound: there is no such list.
        NotReady: a second person has not confirmed it, or somebody is at it already.
        NotReached: the views are too far behind to tell what has changed.
    """
    async with bulks.alone(name):
        made = await bulks.one(name, views.scope)
        check_confirmed(made)
        # What was asked before a kill has to be in the views, or it would be asked once more.
        ends = await log.ends()
        positions = [Position(p, end - 1) for p, end in ends.items() if end]
        await views.reached(positions, ("exceptions", "runs", "history"), timeout_s=VIEWS_S)
        trials = Trials(views, made.corrections) if made.corrections else None
        applying = _Applying(made, views, publisher, actor, wait_s, trials)
        left = await bulks.items(name, results=["left", "unanswered"])
        for first in range(0, len(left), AT_ONCE):
            some = left[first : first + AT_ONCE]
            tried = await applying.tried(some)
            done = await asyncio.gather(*(applying.item(each, tried) for each in some))
            await bulks.keep(done)
            for item in done:
                yield item


def check_confirmed(made: BulkList) -> None:
    """Raise ``NotReady`` where a second person has to agree, and has not."""
    if made.is_unconfirmed:
        raise NotReady(
            f"The list {made.name} has {made.items:,} items, and more than "
            f"{made.confirmed_above:,} need the word of a second person: let somebody else type "
            f"`meshline bulk confirm {made.name}`."
        )


class _Applying(NamedTuple):
    made: BulkList
    views: Views
    publisher: Publisher
    actor: Actor
    wait_s: float
    trials: Trials | None

    async def tried(self, items: Sequence[BulkItem]) -> Mapping[str, Trial]:
        """Return what the list's corrections would change now, by run."""
        if self.trials is None:
            return {}
        return await self.trials.of([item.run_id for item in items])

    async def item(self, item: BulkItem, tried: Mapping[str, Trial]) -> BulkItem:
        asked = await self.views.asked(item.run_id, item.event_id)
        if asked is not None:
            _, answer = asked
            if answer is None:
                return item._replace(result="unanswered", detail="no worker has decided yet")
            if answer.type.startswith("meshline.request.rejected"):
                return _refused(item, answer.data["code"], str(answer.data["reason"]))
            return item._replace(result="done", detail="asked before")
        changed = await self._change(item) or _difference(item, tried.get(item.run_id))
        if changed is not None:
            return item._replace(result="skipped", detail=changed)
        answered = await self.publisher.request(
            item.run_id,
            request_of(self.made, item),
            actor=self.actor,
            event_id=item.event_id,
            correlation_id=self.made.name,
            wait_s=self.wait_s,
        )
        if answered.status == "rejected":
            return _refused(item, answered.code, answered.reason)
        if answered.status == "appended":
            return item._replace(result="unanswered", detail="no worker has decided yet")
        return item._replace(result="done", detail="")

    async def _change(self, item: BulkItem) -> str | None:
        try:
            if item.exception_id:
                return item.change(await self.views.exception(item.exception_id))
            return item.change(await self.views.run(item.run_id))
        except NotFound:
            return "it is no longer among those that you may see"


def _difference(item: BulkItem, trial: Trial | None) -> str | None:
    """Return what its values are other than when they were looked at; None: nothing."""
    if trial is None or trial.corrected == item.corrected:
        return None
    why = "the corrections would change it otherwise than they did when it was looked at"
    return f"its values changed meanwhile: {trial.why or why}"


def _refused(item: BulkItem, code: str | None, reason: str) -> BulkItem:
    if code in _ENDED:
        return item._replace(result="skipped", detail=f"it ended meanwhile: {reason}")
    return item._replace(result="refused", detail=reason)
