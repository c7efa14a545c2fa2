"""A call whose log is in memory, and views that hold the rows that a test gives them."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, cast

import orjson

from meshline.cli.call import Call
from meshline.cli.output import Form, Output
from meshline.cli.place import Given
from meshline.events.clock import ManualClock
from meshline.events.log import EventLog
from meshline.events.log.memory import MemoryLog
from meshline.projections.errors import NotFound
from meshline.projections.queries import Page, Views

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


async def memory_log(partitions: int = 2) -> MemoryLog:
    log = MemoryLog()
    await log.open(create_partitions=partitions)
    return log


_PAGED = (
    *("runs", "exceptions", "tasks", "approvals", "triggers", "possessions", "handovers"),
    *("audit", "readings"),
)


@dataclass
class FakeViews:
    """Gives the rows that stand in it, whatever is asked for, and remembers what was."""

    lists: dict[str, list[Any]] = field(default_factory=dict)
    asked: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    next_page: str | None = None

    def __getattr__(self, name: str) -> Any:
        if name not in _PAGED:
            return self._plain(name)

        async def page(*about: str, **options: Any) -> Page[Any]:
            self.asked.append((name, options))
            return Page(self.lists.get(name, []), self.next_page)

        return page

    def _plain(self, name: str) -> Any:
        async def answer(begins: str = "", *more: Any, **options: Any) -> Any:
            self.asked.append((name, {"begins": begins, **options}))
            if name not in ("run", "exception"):
                return self.lists.get(name, [])
            key = f"{name}_id"
            for row in self.lists.get(f"{name}s", []):
                if getattr(row, key).startswith(begins):
                    return row
            raise NotFound(f"There is no {name} {begins!r}.")

        return answer


class TestedCall(Call):
    """A call with streams in memory; ``data`` is what it wrote to stdout, ``words`` to stderr."""

    __test__ = False

    def __init__(
        self,
        form: Form = Form.text,
        *,
        log: EventLog | None = None,
        views: FakeViews | None = None,
        wait_s: float | None = 5.0,
    ) -> None:
        self._stdout, self._stderr = io.StringIO(), io.StringIO()
        out = Output(form, self._stdout, self._stderr)
        super().__init__(Given(), out, "user:ada", wait_s, ManualClock(NOW))
        self._log = log
        self._views = views

    @asynccontextmanager
    async def log(self) -> AsyncIterator[EventLog]:
        assert self._log is not None
        yield self._log

    @asynccontextmanager
    async def views(self) -> AsyncIterator[Views]:
        yield cast(Views, self._views)

    @asynccontextmanager
    async def whole_views(self) -> AsyncIterator[Views]:
        yield cast(Views, self._views)

    @property
    def data(self) -> str:
        return self._stdout.getvalue()

    @property
    def words(self) -> str:
        return self._stderr.getvalue()

    @property
    def values(self) -> Any:
        """What was written as JSON lines."""
        return [orjson.loads(line) for line in self.data.splitlines()]
