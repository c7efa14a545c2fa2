"""Lists as of a past time: what is made quickly is what a fold of the whole log is."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import pytest

from meshline.events import facts
from meshline.events.directory import Directory, Group, Person
from meshline.events.envelope import Event
from meshline.events.ids import exception_id_of
from meshline.events.log import EventLog
from meshline.projections import as_of_queries, history_view
from meshline.projections.as_of_queries import ViewsFolded, ViewsThen, views_at
from meshline.projections.built_in import BUILT_IN
from meshline.projections.errors import NotFound, NotReached
from meshline.projections.moment import Moment
from meshline.projections.queries import OPEN_RUNS, Views
from meshline.projections.scope import Scope
from tests.projections.filled_views import filled_views
from tests.projections.streams import OWNERS, START, Story, Stream, fill, new_log

pytestmark = pytest.mark.postgres

MOMENTS = 12
CAUSE = "ship:CarrierDown"
SCOPES = [
    None,
    Scope(queues=frozenset(["queue:triage", "team:apac"])),
    Scope(workflows=frozenset(["lead"]), queues=frozenset(["user:ada"])),
    Scope(workflows=frozenset(["another"])),
]


class People(Stream):
    """Also what people do about tasks, exceptions and causes; and times that run backwards."""

    def event(
        self, subject: str, data: Any, time: datetime | None = None, **more: Any
    ) -> Event[Any]:
        event = super().event(subject, data, time, **more)
        if self.random.random() < 0.15 and isinstance(data, facts.Fact):
            away = timedelta(seconds=self.random.randrange(-300, 60))
            event = event._replace(time=event.time + away)
        return event

    def worked_on(self, number: int) -> Story:
        run_id, _ = self.started(number)
        asked: dict[str, Any] = {"workflow": "lead", "by": "role:sales", "owner": "team:sales"}
        self.say(run_id, facts.TaskCreated(task="sign", **asked))
        for again in range(self.random.randrange(1, 3)):
            due = self.now + timedelta(minutes=self.random.randrange(30))
            self.say(run_id, facts.TaskCreated(task="call", **asked, due_at=due))
            self.say(run_id, facts.RunWaiting(waits=(self.wait("task", "call"),)))
            yield
            if self.random.random() < 0.5:
                self.say(run_id, facts.TaskClaimed(task="call", by="user:ada"))
                yield
                self.say(
                    run_id,
                    facts.TaskDelegated(task="call", assignee="user:ada", delegate="user:bob"),
                )
                yield
            if self.random.random() < 0.5:
                to = self.random.choice(OWNERS)
                self.say(
                    run_id,
                    facts.TaskTransferred(
                        task="call", kind="task", previous="team:sales", owner=to
                    ),
                )
                yield
            if again == 0 and self.random.random() < 0.3:
                self.say(run_id, facts.TaskCompleted(task="call", by="user:bob", form={"n": 1}))
                yield
        if self.random.random() < 0.5:
            self.say(run_id, facts.RunCancelled(reason="of no use"))

    def seen(self, number: int) -> Story:
        """An exception that holds nothing up: dismissed, and opened again."""
        run_id, _ = self.started(number)
        exception_id = ""
        for about in ("pack", "ship"):
            exception_id = exception_id_of(run_id, "late", about, 1)
            self.say(
                run_id,
                facts.ExceptionOpened(
                    exception_id=exception_id, workflow="lead", version=self.random.randrange(4),
                    kind="late", about=about, route="queue:dispatch",
                    owner=self.random.choice(OWNERS), severity="low", cause=CAUSE,
                    message=f"number {number} is late", blocking=False,
                ),
            )  # fmt: skip
            yield
        for _ in range(self.random.randrange(3)):
            self.say(run_id, facts.ExceptionDismissed(exception_id=exception_id, reason="known"))
            yield
            owner = self.random.choice(OWNERS)
            self.say(run_id, facts.ExceptionReopened(exception_id=exception_id, owner=owner))
            yield
        if number % 3 == 0:
            data: Any = facts.CauseReopened(cause=CAUSE, reason="not at all")
            if self.random.random() < 0.7:
                version = self.random.randrange(1, 4)
                data = facts.CauseResolved(cause=CAUSE, in_version=version, reason="it is up")
            for partition in self.partitions:
                self.say("causes", data, partition=partition)

    def who(self) -> None:
        for number in (1, 2):
            for partition in self.partitions:
                self.say("directory", directory(number), partition=partition)
            self.now += timedelta(minutes=3)

    def tell_of_people(self, runs: int) -> People:
        going: list[Story] = []
        kinds = [self.worked_on, self.seen, self.held, self.approved, self.paused, self.observed]
        for number in range(runs):
            if number == runs // 2:
                self.who()
            going.append(self.random.choice([*kinds, self.plain])(number))
            while len(going) >= 15 or (number == runs - 1 and len(going) > 9):
                story = self.random.choice(going)
                if next(story, "over") == "over":
                    going.remove(story)
        return self


def directory(number: int) -> facts.DirectoryChanged:
    users = {name: Person() for name in ("ada", "bob", "cid")[: number + 1]}
    members = tuple(f"user:{name}" for name in users)
    return facts.DirectoryChanged(
        number=number, directory_hash=f"hash {number}",
        directory=Directory(users=users, roles={"sales": Group(members=members)}),
    )  # fmt: skip


class Filled(NamedTuple):
    log: EventLog
    views: Views


@pytest.fixture
async def filled(postgres_address: str) -> AsyncIterator[Filled]:
    log = await new_log()
    stream = People(22)
    stream.register()
    await fill(log, stream.tell_of_people(120).entries)
    async with filled_views(postgres_address, log) as views:
        yield Filled(log, views)


ASKED: list[tuple[str, dict[str, Any]]] = [
    ("runs", {}),
    ("runs", {"states": OPEN_RUNS}),
    ("runs", {"states": ["succeeded", "held"]}),
    ("runs", {"states": ["waiting"], "owner": "user:ada"}),
    ("runs", {"states": ["paused", "running"]}),
    ("runs", {"wait_kind": "exception"}),
    ("runs", {"wait_kind": "outside"}),
    ("runs", {"wait_kind": "task"}),
    ("runs", {"workflow": "lead", "source": "web.forms", "limit": 7}),
    ("runs", {"id_prefix": "a"}),
    ("owners", {}),
    ("exceptions", {}),
    ("exceptions", {"states": None, "limit": 7}),
    ("exceptions", {"states": ["in_progress", "dismissed"]}),
    ("exceptions", {"cause": CAUSE, "owner": "user:ada"}),
    ("exception_groups", {"open_only": False}),
    ("exception_groups", {}),
    ("tasks", {}),
    ("tasks", {"states": None, "limit": 7}),
    ("tasks", {"kind": "task", "owner": "team:sales"}),
    ("approvals", {"states": None}),
    ("possessions", {"owner": "team:revops"}),
    ("possessions", {"owner": "queue:triage", "limit": 7}),
]


async def asked_of(views: Views, name: str, given: dict[str, Any]) -> list[Any]:
    """Return all rows of a list, page by page."""
    found: list[Any] = []
    more: dict[str, str] = {}
    while True:
        page = await getattr(views, name)(**given, **more)
        if isinstance(page, list):
            return page
        found += page.rows
        if page.next is None:
            return found
        more["after"] = page.next


async def test_every_list_as_of_a_time_is_that_of_a_fold_of_the_whole_log(filled: Filled) -> None:
    log, views = filled
    said = await views._fetch("select distinct time from {ns}.history order by time")
    times = [row["time"] for row in said]
    chosen = [times[0], *random.Random(5).sample(times, MOMENTS - 2), times[-1]]
    rows = dict.fromkeys((name for name, _ in ASKED), 0)
    different = set()
    for number, time in enumerate(chosen):
        within = views.within(SCOPES[number % len(SCOPES)] if number % 2 else None)
        quick = await views_at(within, Moment(time), log)
        by_place = Moment(time, offsets=dict.fromkeys(await log.ends(), 1 << 40))
        folded = await views_at(within, by_place, log)
        assert isinstance(quick, ViewsThen) and isinstance(folded, ViewsFolded)
        for name, given in ASKED:
            expected = await asked_of(folded, name, given)
            assert await asked_of(quick, name, given) == expected, (time, name, given)
            rows[name] += len(expected)
            if expected != await asked_of(within, name, given):
                different.add(name)
        for group in (await folded.exception_groups(open_only=False))[:2]:
            one = await folded.cause(group.cause, time)
            assert await quick.cause(group.cause, time) == one and one.hits
        assert await quick.queue_loads(time) == await folded.queue_loads(time)
        assert await quick.person_loads(time) == await folded.person_loads(time)
    assert min(rows.values()) > 20, rows
    assert different == set(rows), "a list that is the same now says nothing about the past"


async def test_what_is_of_no_run_is_refused_as_of_a_moment(filled: Filled) -> None:
    then = await views_at(filled.views, Moment(START), filled.log)

    with pytest.raises(NotFound, match="'triggers' is not looked at as of a moment"):
        await then.trigger_counts()
    with pytest.raises(NotFound, match="one run at a time"):
        await then.periods("a run")


async def test_a_history_that_is_behind_is_waited_for_and_says_so(
    postgres_address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(as_of_queries, "HISTORY_S", 0.2)
    log, stream = await new_log(), People(7)
    stream.register()
    await fill(log, stream.tell_of_people(4).entries)
    others = [each for each in BUILT_IN if each is not history_view.projection]
    async with filled_views(postgres_address, log, others) as views:
        with pytest.raises(NotReached, match="history"):
            await views_at(views, Moment(START), log)
    async with filled_views(postgres_address, log, [history_view.projection]) as views:
        assert isinstance(await views_at(views, Moment(START), log), ViewsThen)
