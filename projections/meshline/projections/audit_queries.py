"""Reading who asked for what, what it led to, and who read payloads."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Protocol, TypeVar

from meshline.projections.audit_view import AuditRow
from meshline.projections.conditions import Conditions
from meshline.projections.pages import LIMIT_MAX, Page, next_after, row_after
from meshline.projections.readings import ReadingRow

__all__ = ["AuditQueries"]

R = TypeVar("R", bound=tuple[Any, ...])


class _Reading(Protocol):
    @property
    def is_narrowed(self) -> bool: ...

    async def _fetch(self, sql: str, *arguments: Any) -> list[dict[str, Any]]: ...

    async def _page(
        self, row: type[R], view: str, where: Conditions, order: Sequence[str], limit: int,
        after: str | None,
    ) -> Page[R]: ...  # fmt: skip


class AuditQueries:
    """The part of ``Views`` that is about what was asked."""

    async def audit(
        self: _Reading,
        *,
        actor: str | None = None,
        actions: Sequence[str] | None = None,
        status: str | None = None,
        workflow: str | None = None,
        run_id: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int = 50,
        after: str | None = None,
    ) -> Page[AuditRow]:
        """Return what was asked for and refused, what was recorded last first.

        Args:
            since, until: of the times of recording; ``until`` is the first that is not meant.
        """
        where = Conditions()
        where.one_of("action", actions)
        where.equal(actor=actor, status=status, run_id=run_id)
        if workflow is not None:
            where.add("run_id in (select run_id from {ns}.runs where workflow = ?)", workflow)
        where.within("recorded_at", since, until)
        order = ("recorded_at", "partition", "log_offset")
        return await self._page(AuditRow, "audit", where, order, limit, after)

    async def led_to(self: _Reading, rows: Iterable[AuditRow]) -> dict[tuple[str, str], str]:
        """Return by run and position of what was asked the type of the first fact that answers it.

        Refusals are no answer here: they stand in the row.
        """
        asked = [row for row in rows if row.status == "asked"]
        found = await self._fetch(
            "select run_id, causation_id, type from {ns}.history where run_id = any($1::text[]) "
            "and causation_id = any($2::text[]) and epoch is not null "
            "order by run_id, partition, log_offset desc",
            sorted({row.run_id for row in asked}),
            [f"{row.partition}:{row.log_offset}" for row in asked],
        )
        return {(each["run_id"], each["causation_id"]): each["type"] for each in found}

    async def readings(
        self: _Reading,
        *,
        actor: str | None = None,
        workflow: str | None = None,
        run_id: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int = 50,
        after: str | None = None,
    ) -> Page[ReadingRow]:
        """Return who read payloads, the last first; of a team those of its runs alone.

        Args:
            since, until: as of ``audit``.
        """
        table = "{ns}_access.payload_readings"
        [kept] = await self._fetch(f"select to_regclass('{table}') is not null as is_there")
        if not kept["is_there"]:
            return Page([], None)
        limit = max(1, min(limit, LIMIT_MAX))
        where = Conditions()
        where.equal(actor=actor)
        if run_id is not None:
            where.add("run_ids @> array[?]::text[]", run_id)
        where.within("read_at", since, until)
        about_runs = "exists (select 1 from {ns}.runs where run_id = any(run_ids)"
        if workflow is not None:
            where.add(f"{about_runs} and workflow = ?)", workflow)
        elif self.is_narrowed:
            where.add(f"{about_runs})")
        if after is not None:
            last = row_after(after, ReadingRow, ("read_at", "number"))
            where.add("(read_at, number) < (?, ?)", *last)
        found = await self._fetch(
            f"select * from {table} {where} order by read_at desc, number desc limit {limit + 1}",
            *where.arguments,
        )
        rows = [ReadingRow(**record) for record in found[:limit]]
        following = (rows[-1].read_at, rows[-1].number) if len(found) > limit else None
        return Page(rows, None if following is None else next_after(following))
