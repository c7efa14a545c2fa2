"""The views as they are read where nobody keeps who reads: without what is secret of payloads."""

from __future__ import annotations

import inspect
from typing import Any

from meshline.projections.exchanges import Exchange, read_exchanges
from meshline.projections.explain import reasons_of
from meshline.projections.masking import masked_rows
from meshline.projections.pages import Page
from meshline.projections.reasons import Reason
from meshline.projections.runs_view import RunRow

__all__ = ["MaskedViews"]


class MaskedViews:
    """Reads other views, and masks what they answer with.

    Args:
        views: what is read; of now, or of a past moment.
        now: the views as they are now, where definitions are.
    """

    def __init__(self, views: Any, now: Any) -> None:
        self._views = views
        self._now = now

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._views, name)
        if not inspect.iscoroutinefunction(method):
            return method

        async def read(*args: Any, **options: Any) -> Any:
            return await self._masked(await method(*args, **options))

        return read

    async def exchanges(self, run_id: str, step: str | None) -> list[Exchange]:
        """Return what went in and out; what is different is told of the true values."""
        row, workflows = await self._views.run(run_id), await self._views.workflows()
        return await masked_rows(self._now, await read_exchanges(self._views, row, step, workflows))

    async def reasons(self, run_id: str, run: RunRow | None) -> list[Reason]:
        """Return why a run is as it is."""
        found = await reasons_of(self._views, run_id, run)
        return await masked_rows(self._now, found, run_id)

    async def _masked(self, found: Any) -> Any:
        if isinstance(found, Page):
            return found._replace(rows=await masked_rows(self._now, found.rows))
        if isinstance(found, list):
            return await masked_rows(self._now, found)
        if isinstance(found, dict):
            return {name: await self._masked(each) for name, each in found.items()}
        [shown] = await masked_rows(self._now, [found])
        return shown
