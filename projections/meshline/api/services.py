"""What the API stands on: all of one installation, opened and closed by who makes it."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from meshline.api.accounts import Accounts
from meshline.api.admissions import Admissions, told_with
from meshline.api.bulk_work import BulkWork
from meshline.api.changes import Changes
from meshline.api.keys import ApiKeys
from meshline.api.refusals import Refusals
from meshline.api.repeats import Repeats
from meshline.events.log import EventLog
from meshline.events.publish import Publisher
from meshline.projections.bulk import Bulks
from meshline.projections.queries import Views
from meshline.projections.readings import Readings
from meshline.projections.settings import ReadingSettings
from meshline.projections.snapshots import KeptViews

__all__ = ["Services"]


class Services:
    """Args:
    kept: snapshots of the views, for lists of the past.
    refusals: where it is told what was refused; made here if it is not given.
    changes: what tells streams what changed; made here if it is not given.
    bulks: the lists of bulk operations, if this server is to have them.
    views_at: the address of the views, if they can be rebuilt and swapped from here; beside
        them it is kept who reads payloads. Without it only the log of this process says so.
    keys, accounts: who is let in, if that can be changed from here.
    readings: how long it is kept who reads payloads.
    """

    def __init__(
        self,
        log: EventLog,
        publisher: Publisher,
        views: Views,
        kept: KeptViews | None = None,
        refusals: Refusals | None = None,
        changes: Changes | None = None,
        bulks: Bulks | None = None,
        views_at: str | None = None,
        keys: ApiKeys | None = None,
        accounts: Accounts | None = None,
        readings: ReadingSettings | None = None,
    ) -> None:
        self.views_at = views_at
        self.readings = None if views_at is None else Readings(views_at, readings)
        self.admissions: Admissions | None = None
        if keys is not None and accounts is not None:
            self.admissions = Admissions(keys, accounts, told_with(publisher))
        self.bulks = bulks
        self.bulk_work = None if bulks is None else BulkWork(bulks, publisher, log)
        self.kept = kept
        self.publisher = publisher
        self.views = views
        self.log = log
        self.refusals = refusals or Refusals(publisher, views)
        self.repeats = Repeats(log, views)
        self.changes = changes or Changes(log, views)

    async def __aenter__(self) -> Self:
        if self.readings is not None:
            await self.readings.open()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self.bulk_work is not None:
            await self.bulk_work.aclose()
        await self.changes.aclose()
        await self.refusals.aclose()
        if self.readings is not None:
            await self.readings.aclose()
