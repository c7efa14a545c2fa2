"""Reading the views about people: who there is, and who is in what."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Protocol

from meshline.events.directory import Directory, Roster
from meshline.projections.directory_view import (
    AbsenceRow,
    DirectoryPartitionRow,
    DirectoryRow,
)

__all__ = ["PeopleQueries", "roster_of"]


class _Fetching(Protocol):
    async def _fetch(self, sql: str, *arguments: Any) -> list[dict[str, Any]]: ...


class PeopleQueries:
    """The part of ``Views`` that is about people."""

    async def directory(self: _Fetching) -> DirectoryRow | None:
        """Return the directory that counts; None: none was ever applied."""
        rows = await self._fetch(
            "select * from {ns}.directories order by number desc, directory_hash desc limit 1"
        )
        return DirectoryRow(**rows[0]) if rows else None

    async def directory_partitions(self: _Fetching) -> list[DirectoryPartitionRow]:
        """Return which directory each partition decides by."""
        rows = await self._fetch("select * from {ns}.directory_partitions order by partition")
        return [DirectoryPartitionRow(**row) for row in rows]

    async def absences(self: _Fetching, now: datetime) -> list[AbsenceRow]:
        """Return who is away now, or will be, those who left first at the top."""
        rows = await self._fetch(
            "select * from {ns}.absences where substitute is not null and until > $1 "
            "order by since, absent",
            now,
        )
        return [AbsenceRow(**row) for row in rows]


def roster_of(row: DirectoryRow | None) -> Roster | None:
    """Return the directory of a row, to be asked: ``roster.roles_of("user:ada")``."""
    return None if row is None else Roster(Directory.model_validate(row.directory))
