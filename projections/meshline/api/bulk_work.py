"""Lists that this server applies: begun by a request, done beside it, gone on with by anybody."""

from __future__ import annotations

import asyncio
import logging

from meshline.api.problems import TooBusy
from meshline.events.envelope import Actor
from meshline.events.errors import MeshlineError
from meshline.events.log import EventLog
from meshline.events.publish import Publisher
from meshline.projections.bulk import Bulks
from meshline.projections.bulk_apply import applied, check_confirmed
from meshline.projections.bulk_list import BulkList
from meshline.projections.errors import NotReady
from meshline.projections.queries import Views

__all__ = ["BulkWork"]

_logger = logging.getLogger("meshline.api")

LISTS_MAX = 4
"""Lists that one server applies at the same time."""

PROBLEMS_MAX = 100


class BulkWork:
    """Nothing hangs on this process: whose list was not done to its end begins it again."""

    def __init__(self, bulks: Bulks, publisher: Publisher, log: EventLog) -> None:
        self._bulks = bulks
        self._publisher = publisher
        self._log = log
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._problems: dict[str, str] = {}

    async def begin(self, made: BulkList, views: Views, actor: Actor) -> None:
        """Apply the list in the actor's name, from now on and beside.

        Raises:
            NotReady: a second person has not confirmed it, or somebody is at it already.
            TooBusy: this server applies as many as it may.
        """
        check_confirmed(made)
        if await self.is_at(made.name):
            raise NotReady(
                f"The list {made.name} is being applied already: expected one at a time. Wait, "
                "then look at it again."
            )
        if len(self._tasks) >= LISTS_MAX:
            raise TooBusy(
                f"This server applies {LISTS_MAX} lists already: expected fewer. Nothing was "
                "begun: ask again when one of them is done."
            )
        self._problems.pop(made.name, None)
        task = asyncio.create_task(self._apply(made.name, views, actor))
        self._tasks[made.name] = task
        task.add_done_callback(lambda _: self._tasks.pop(made.name, None))

    async def is_at(self, name: str) -> bool:
        """Return whether the list is being applied now, here or elsewhere."""
        return await self._bulks.is_being_applied(name) or name in self._tasks

    def problem(self, name: str) -> str | None:
        """Return what ended the last applying here before its time; None: nothing did."""
        return self._problems.get(name)

    async def aclose(self) -> None:
        """End what is under way: it can be gone on with."""
        tasks = [*self._tasks.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _apply(self, name: str, views: Views, actor: Actor) -> None:
        try:
            async for _ in applied(
                self._bulks, name, views, self._publisher, self._log, actor=actor
            ):
                pass
        except MeshlineError as error:
            _logger.warning("The list %s was not applied to its end: %s", name, error)
            self._note(name, error.message)
        except Exception:
            _logger.exception("The list %s was not applied to its end", name)
            self._note(name, "The server met what it was not made for; its log says what.")

    def _note(self, name: str, problem: str) -> None:
        if len(self._problems) >= PROBLEMS_MAX:
            self._problems.pop(next(iter(self._problems)))
        self._problems[name] = problem
