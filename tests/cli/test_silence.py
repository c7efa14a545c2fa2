"""Sources that fall silent, in virtual time: any number of watchers, kills, repeats."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest

from meshline.cli.silence import AGAIN_S, SilenceWatch
from meshline.events.codec import decode
from meshline.events.envelope import Position, Recorded
from meshline.events.log import Accepted, Entry, EventLog, Unknown
from meshline.projections.errors import NotFound, NotReached
from meshline.projections.exception_view import exceptions
from meshline.projections.history_view import history
from meshline.projections.pages import Page
from meshline.projections.queries import Views
from meshline.projections.runs_view import RunRow, runs
from meshline.projections.triggers_view import triggers
from meshline.projections.workflows_view import workflows
from meshline.testing import RequestRefused, WorkflowTest
from tests.engine.core.workflows import Order
from tests.projections.given import rows_after
from tests.workflow.test_silence import watched


class ViewsOf:
    """The views, folded from what the test's log holds: never behind, unless told to be."""

    def __init__(self, test: WorkflowTest) -> None:
        self._test = test
        self.is_behind = False

    async def _rows(self, table: Any) -> list[Any]:
        records = self._test.records
        return await rows_after(
            table, *(Recorded(decode(r.value), Position(0, r.offset)) for r in records)
        )

    async def reached(self, positions: Any, names: Any, *, timeout_s: float) -> None:
        if self.is_behind:
            raise NotReached("The views are behind.")

    async def workflows(self) -> list[Any]:
        return await self._rows(workflows)

    async def runs(self, *, states: Sequence[str], workflow: str, limit: int) -> Page[RunRow]:
        rows = await self._rows(runs)
        return Page([r for r in rows if r.state in states and r.workflow == workflow], None)

    async def history(self, run_id: str) -> list[Any]:
        return [row for row in await self._rows(history) if row.run_id == run_id]

    async def triggers(self, *, source: str, trigger_id: str, limit: int) -> Page[Any]:
        rows = [r for r in await self._rows(triggers) if r[2:4] == (source, trigger_id)]
        return Page(sorted(rows, key=lambda r: r.received_at)[::-1][:limit], None)

    async def last_received(
        self, source: str, trigger_type: str, after: datetime | None = None
    ) -> datetime | None:
        came = [
            row.received_at
            for row in await self._rows(triggers)
            if row.source == source and row.trigger_type in ("", trigger_type)
        ]
        return max((at for at in came if after is None or at > after), default=None)

    async def exceptions(self) -> list[tuple[str, str, str]]:
        return [(row.kind, row.state, row.owner) for row in await self._rows(exceptions)]


async def test_views_that_are_not_made_yet_are_no_trouble(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class NoViews:
        looks = 0

        async def workflows(self) -> list[Any]:
            self.looks += 1
            raise NotFound("There are no views yet.")

        async def reached(self, positions: Any, names: Any, *, timeout_s: float) -> None:
            await self.workflows()

    views = NoViews()
    log = LogOf(WorkflowTest(watched("1h")))
    watch = SilenceWatch(cast(EventLog, log), cast(Views, views))
    watch._look_s = 0.001
    watching = asyncio.create_task(watch.run())
    async with asyncio.timeout(90):
        while views.looks < 3:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.002)
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)

    assert [r.message for r in caplog.records if r.levelno >= logging.WARNING] == []


class LogOf:
    """The test's log. Unsure, it gives no answer though it appends; unread, no keeper is there."""

    def __init__(self, test: WorkflowTest) -> None:
        self._test = test
        self.identity = SimpleNamespace(partitions=1)
        self.is_unsure = False
        self.is_unread = False
        self.appended = 0

    async def ends(self) -> dict[int, int]:
        return {0: len(self._test.records)}

    async def append(self, partition: int, entries: Sequence[Entry]) -> Any:
        for entry in entries:
            event = decode(entry.value)
            self.appended += 1
            if self.is_unread:
                self._test._append([entry])
                continue
            try:
                self._test.ask(entry.key, event.data, event_id=event.id)
            except RequestRefused:
                continue
        return Unknown("no answer") if self.is_unsure else Accepted(0, 0, contiguous=False)


def watch(test: WorkflowTest) -> tuple[SilenceWatch, LogOf, ViewsOf]:
    log, views = LogOf(test), ViewsOf(test)
    return SilenceWatch(cast(EventLog, log), cast(Views, views), test.clock), log, views


def silences(test: WorkflowTest) -> int:
    named = [run for run in test.state.runs.values() if run.workflow == "orders.silence"]
    return len(named)


async def test_a_source_that_stops_is_an_exception_once_and_is_over_when_it_sends_again() -> None:
    test = WorkflowTest(watched("2h"))
    watcher, log, views = watch(test)
    test.start(Order())
    test.advance("2h")
    assert (await watcher.look(), await views.exceptions()) == (0, [])

    test.advance("1m")
    assert await watcher.look() == 2
    assert await views.exceptions() == [("source_silent", "open", "queue:triage")]
    test.advance("3d")
    assert await watcher.look() == 0
    assert log.appended == 2

    test.start(Order())
    assert await watcher.look() == 1
    assert await watcher.look() == 0
    assert await views.exceptions() == [("source_silent", "resolved", "queue:triage")]

    test.advance("3h")
    assert await watcher.look() == 2
    assert silences(test) == 2


async def test_two_watchers_that_saw_the_same_are_one_silence() -> None:
    test = WorkflowTest(watched("2h"))
    test.start(Order())
    test.advance("3h")
    first, _log, views = watch(test)
    second, *_ = watch(test)
    stale = list(test.records)
    await first.look()

    # The second looked at the log as it was before the first one spoke.
    second._views = cast(Views, ViewsOf(cast(WorkflowTest, SimpleNamespace(records=stale))))
    assert await second.look() == 2

    assert silences(test) == 1
    assert await views.exceptions() == [("source_silent", "open", "queue:triage")]


async def test_a_watcher_that_comes_late_opens_nothing_that_is_over() -> None:
    test = WorkflowTest(watched("2h"))
    test.start(Order())
    test.advance("3h")
    first, _, views = watch(test)
    second, *_ = watch(test)
    stale = list(test.records)
    await first.look()
    test.start(Order())
    await first.look()

    second._views = cast(Views, ViewsOf(cast(WorkflowTest, SimpleNamespace(records=stale))))
    assert await second.look() == 2

    assert await views.exceptions() == [("source_silent", "resolved", "queue:triage")]


async def test_what_no_keeper_has_answered_yet_is_said_once() -> None:
    test = WorkflowTest(watched("2h"))
    test.start(Order())
    test.advance("3h")
    watcher, log, _ = watch(test)
    await watcher.look()
    test.start(Order())
    log.is_unread = True

    assert [await watcher.look() for _ in range(3)] == [1, 0, 0]


async def test_a_watcher_without_an_answer_says_nothing_twice_that_came_to_the_log() -> None:
    test = WorkflowTest(watched("2h"))
    test.start(Order())
    test.advance("3h")
    watcher, log, views = watch(test)
    log.is_unsure = True

    assert await watcher.look() == 0
    assert await watcher.look() == 0

    assert log.appended == 2
    assert len(await views.exceptions()) == 1


async def test_a_restarted_watcher_and_a_new_keeper_go_on_where_the_others_were() -> None:
    test = WorkflowTest(watched("2h"))
    test.start(Order())
    test.advance("3h")
    await watch(test)[0].look()
    test.restart()

    assert await watch(test)[0].look() == 0
    test.start(Order())
    assert await watch(test)[0].look() == 1
    assert await ViewsOf(test).exceptions() == [("source_silent", "resolved", "queue:triage")]


async def test_views_that_are_behind_see_no_silence() -> None:
    test = WorkflowTest(watched("2h"))
    test.start(Order())
    test.advance("3h")
    watcher, log, views = watch(test)
    views.is_behind = True

    with pytest.raises(NotReached):
        await watcher.look()
    assert log.appended == 0


async def test_a_source_that_never_began_is_silent_since_it_was_expected() -> None:
    test = WorkflowTest(watched("2h"))
    watcher, _, views = watch(test)
    test.advance("119m")
    assert await watcher.look() == 0
    test.advance("2m")

    assert await watcher.look() == 2
    assert await views.exceptions() == [("source_silent", "open", "queue:triage")]


async def test_what_was_refused_counts_as_heard() -> None:
    test = WorkflowTest(watched("2h"))
    watcher, *_ = watch(test)
    test.advance("119m")
    with pytest.raises(RequestRefused):
        test.start({"number": "many"}, workflow="orders")
    test.advance("1h")

    assert await watcher.look() == 0


async def test_what_no_keeper_understands_is_said_again_but_not_with_every_look() -> None:
    test = WorkflowTest(watched("2h"))
    watcher, log, views = watch(test)
    test.replace(watched(None))
    test.advance("3h")

    for _ in range(5):
        await watcher.look()
    assert log.appended == 2
    assert await views.exceptions() == []

    test.replace(watched("2h"))
    test.clock.set(test.now + timedelta(seconds=AGAIN_S + 1))
    await watcher.look()
    assert await views.exceptions() == [("source_silent", "open", "queue:triage")]


async def test_a_newer_version_that_watches_nothing_closes_what_is_open() -> None:
    test = WorkflowTest(watched("2h"))
    watcher, _, views = watch(test)
    test.advance("3h")
    await watcher.look()

    test.replace(watched("2h"), watched(None, version=2))
    assert await watcher.look() == 1
    assert await watcher.look() == 0

    assert await views.exceptions() == [("source_silent", "resolved", "queue:triage")]


async def test_another_time_in_a_newer_version_is_the_same_silence() -> None:
    test = WorkflowTest(watched("2h"))
    watcher, _log, views = watch(test)
    test.start(Order(), workflow="orders")
    test.advance("3h")
    await watcher.look()

    test.replace(watched("2h"), watched("1h", version=2))
    assert await watcher.look() == 0
    assert len(await views.exceptions()) == 1


async def test_nobody_is_asked_where_nothing_is_watched() -> None:
    test = WorkflowTest(watched(None))
    watcher, _log, views = watch(test)
    views.is_behind = True
    test.advance("300d")

    assert await watcher.look() == 0
