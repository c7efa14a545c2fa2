"""Retrying and skipping what a view has parked: a worker answers, a projector acts, it is told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import orjson
import pytest
import typer

from meshline.cli.exits import Exit
from meshline.cli.main import run
from meshline.cli.view_free import Freed, _exit, _position, _text
from meshline.engine.worker import Worker
from meshline.events.envelope import Position, Recorded
from meshline.events.facts import OwnerAssigned
from meshline.events.log import Entry, EventLog, open_log
from meshline.projections.from_scratch import compare_views, fold_views
from meshline.projections.history_view import projection as history
from meshline.projections.postgres_store import PostgresStore
from meshline.projections.projection import Projection, by_run
from meshline.projections.projector import Projector
from meshline.workflow import Registry
from tests.engine.test_worker import QUICK
from tests.projections.streams import Stream, fill

RUN = "0a111111-1111-5111-8111-111111111111"
OTHER = "0a222222-2222-5222-8222-222222222222"
Type = Callable[..., Awaitable[tuple[int, list[dict[str, Any]], str]]]


class Owners(NamedTuple):
    run_id: str
    owners: str


class Code:
    """What the projection's code can't bear; a new program is another value."""

    bad: Sequence[str] = ("poison",)


def fussy() -> Projection:
    made = Projection("fussy", version=1)
    table = made.table("fussy", Owners, key=["run_id"], keys=by_run)

    @table.on(OwnerAssigned)
    def add(row: Owners | None, event: Recorded[OwnerAssigned]) -> Owners:
        owner = event.event.data.owner
        if owner in Code.bad:
            raise ValueError(f"not {owner}")
        return Owners(event.event.subject, f"{row.owners} {owner}" if row else owner)

    return made


@pytest.fixture
def place(
    postgres_address: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Any]:
    monkeypatch.setattr(Code, "bad", ("poison",))
    where = ["--log", postgres_address, "--views", postgres_address]

    async def typed(*words: str) -> tuple[int, list[dict[str, Any]], str]:
        capsys.readouterr()
        shown = [] if "--output" in words else ["--output", "jsonl"]
        code = await asyncio.to_thread(run, ["view", *words, *shown, *where])
        out, err = capsys.readouterr()
        return code, [orjson.loads(line) for line in out.split("\n") if line[:1] == "{"], out + err

    @asynccontextmanager
    async def at_work(
        *owners: tuple[str, str], projects: bool = True, log_at: str = postgres_address
    ) -> AsyncIterator[tuple[Type, EventLog, Projection]]:
        """A log that says these owners of these runs, a worker and a projector."""
        where[1] = log_at
        log = open_log(where[1])
        await log.open(create_partitions=2)
        stream, view = Stream(1), fussy()
        for run_id, owner in owners:
            stream.say(run_id, OwnerAssigned(owner=owner))
        await fill(log, stream.entries)
        worker = Worker(log, Registry(), name="w", settings=QUICK)
        store = PostgresStore(postgres_address)
        await store.open()
        projector = Projector(log, store, [view, history])
        tasks = [asyncio.create_task(worker.run()), asyncio.create_task(projector.run())]
        await worker.ready()
        ends = await log.ends()
        async with asyncio.timeout(90):
            while not all(  # noqa: ASYNC110 - nobody tells
                at.get("fussy", {}) == ends for at in [await store.live_checkpoints(["fussy"])]
            ):
                await asyncio.sleep(0.01)
        if not projects:
            projector.stop()
            await tasks[1]
        try:
            yield typed, log, view
        finally:
            worker.stop()
            projector.stop()
            await asyncio.gather(*tasks)
            await store.aclose()
            await log.aclose()

    return at_work


async def rows(address: str, view: Projection) -> dict[str, str]:
    store = PostgresStore(address)
    found: dict[str, str] = {row.run_id: row.owners for row in await store.rows(view.tables[0])}
    await store.aclose()
    return found


EVENTS = [(RUN, "a"), (RUN, "poison"), (OTHER, "b"), (RUN, "c"), (RUN, "poison"), (RUN, "d")]


@pytest.mark.postgres
async def test_from_parked_to_skipped_and_every_fold_agrees(
    place: Callable[..., Any], postgres_address: str
) -> None:
    async with place(*EVENTS) as (typed, log, view):
        code, (parked,), text = await typed("parked", "fussy")
        assert (code, parked["key"], parked["behind"]) == (0, RUN, 3)
        _, _, text = await typed("parked", "fussy", "--output", "text")
        assert f"meshline view retry fussy --key {RUN}" in text
        assert f'meshline view skip fussy --key {RUN} --reason "…"' in text

        code, (told,), _ = await typed("retry", "fussy", "--key", "0a11")
        assert (code, told["outcome"], told["parked"]) == (Exit.FAILED, "failed", 4)
        assert "ValueError: not poison" in told["error"]

        code, (told,), _ = await typed(
            "skip", "fussy", "--key", RUN, "--reason", "a test", "--as", "user:ada"
        )
        assert (code, told["outcome"], told["events"], told["parked"]) == (1, "stopped", 2, 2)
        code, (told,), _ = await typed("skip", "fussy", "--key", RUN, "--reason", "the same")
        assert (code, told["outcome"], told["events"], told["parked"]) == (0, "skipped", 2, 0)

        assert await rows(postgres_address, view) == {RUN: "a c d", OTHER: "b"}
        assert await typed("parked", "fussy") == (0, [], "Nothing is parked in fussy.\n")
        scratch, store = await fold_views(log, [view]), PostgresStore(postgres_address)
        assert await compare_views(store, scratch, [view]) == []
        said = [r for r in await store.rows(history.tables[0]) if "parked" in r.type]
        await store.aclose()
    assert [(r.run_id, r.actor, r.type.split(".")[-2]) for r in said][2:4] == [
        (RUN, "user:ada", "requested"), (RUN, "user:ada", "skipped"),
    ]  # fmt: skip
    assert said[3].data["reason"] == "a test"


@pytest.mark.postgres
async def test_all_keys_are_retried_once_their_cause_is_gone(
    place: Callable[..., Any], postgres_address: str
) -> None:
    async with place((RUN, "poison"), (RUN, "a"), (OTHER, "poison")) as (typed, _, view):
        code, told, text = await typed("retry", "fussy")
        assert (code, told) == (Exit.USAGE, [])
        assert "2 keys with 3 events are parked in fussy. Nothing was done" in text

        Code.bad = ()
        code, told, _ = await typed("retry", "fussy", "--yes")

        assert code == 0
        assert sorted((t["outcome"], t["events"], t["parked"]) for t in told) == [
            ("applied", 1, 0), ("applied", 2, 0),
        ]  # fmt: skip
        assert await rows(postgres_address, view) == {RUN: "poison a", OTHER: "poison"}
        code, told, text = await typed("retry", "fussy", "--yes")
        assert (code, told, text) == (0, [], "Nothing is parked in the live build of fussy.\n")


@pytest.mark.postgres
async def test_foreign_bytes_are_skipped_by_their_place(place: Callable[..., Any]) -> None:
    async with place((RUN, "a")) as (typed, log, _):
        for key in ("", "bad\u2028key", ""):
            await log.append(1, [Entry(key, b"\xff no event")])
        async with asyncio.timeout(90):
            found: list[Any] = []
            while sorted(each["behind"] for each in found) != [0, 1]:
                _, found, _ = await typed("parked", "fussy")
        for each in found:
            partition, offset = each["position"].values()
            code, (told,), _ = await typed(
                "skip", "fussy", "--at", f"{partition}:{offset}", "--reason", "not ours"
            )
            assert (code, told["outcome"]) == (0, "skipped")
        _, left, _ = await typed("parked", "fussy")
        assert [each["behind"] for each in left] == [0]


@pytest.mark.postgres
@pytest.mark.kafka
async def test_on_kafka_it_is_the_same(
    place: Callable[..., Any], postgres_address: str, kafka_address: str
) -> None:
    async with place(*EVENTS, log_at=kafka_address) as (typed, _log, view):
        code, (told,), _ = await typed("retry", "fussy", "--key", RUN)
        assert (code, told["outcome"]) == (Exit.FAILED, "failed")
        Code.bad = ()
        code, (told,), _ = await typed("retry", "fussy", "--key", RUN)

        assert (code, told["outcome"], told["events"]) == (0, "applied", 4)
        assert await rows(postgres_address, view) == {RUN: "a poison c poison d", OTHER: "b"}


@pytest.mark.postgres
async def test_without_a_projector_it_says_that_the_wish_is_kept(
    place: Callable[..., Any],
) -> None:
    async with place(*EVENTS, projects=False) as (typed, _log, _):
        code, (told,), text = await typed("retry", "fussy", "--key", RUN, "--wait", "300ms")
        assert (code, told["status"], told["outcome"]) == (Exit.UNANSWERED, "accepted", "")
        assert "No answer within 0.3 s" in text

        code, (told,), _ = await typed("retry", "fussy", "--key", RUN, "--wait", "0s")
        assert (code, told["status"]) == (0, "appended")


@pytest.mark.postgres
async def test_what_is_meant_must_be_one_parked_event(place: Callable[..., Any]) -> None:
    async with place((RUN, "poison"), (OTHER, "poison")) as (typed, _, _view):
        for words, expected in (
            (["--key", "0a"], "'0a222222"),
            (["--key", "ff"], "found none"),
            (["--at", "0:1"], "found none"),
        ):
            code, told, text = await typed("skip", "fussy", *words, "--reason", "x")
            assert (code, told) == (Exit.NOT_FOUND, []) and expected in text, text
        for words in (
            ["--reason", "x"],
            ["--key", RUN, "--reason", " "],
            ["--at", "1:1", "--key", RUN, "--reason", "x"],
            ["--at", "here", "--reason", "x"],
            ["--key", RUN],
        ):
            assert (await typed("skip", "fussy", *words))[0] == Exit.USAGE, words
        assert (await typed("retry", "nothing", "--yes"))[0] == Exit.NOT_FOUND


def test_every_ending_has_words_and_an_exit_code() -> None:
    at = Position(1, 7)
    freed = Freed("accepted", "", "v", 1, 1, "k", at, Position(1, 9), 3, 2, "E: x", None, "")

    assert _text(freed._replace(outcome="applied")) == "applied   k in v: 3 events"
    assert "1:7 is left out; 2 events are still parked" in _text(freed._replace(outcome="skipped"))
    assert _text(freed._replace(outcome="failed")).endswith("E: x; 2 events are parked")
    rejected = freed._replace(status="rejected", code="reason_missing", reason="Why?")
    assert _text(rejected) == "rejected  k in v  reason_missing: Why?"
    assert _text(freed._replace(key="")) == "accepted  1:7 in v"
    stopped, applied = freed._replace(outcome="stopped"), freed._replace(outcome="applied")
    assert [_exit(each, waited=True) for each in (freed, rejected, stopped, applied)] == [
        Exit.UNANSWERED, Exit.REFUSED, Exit.FAILED, Exit.OK,
    ]  # fmt: skip
    assert _exit(freed, waited=False) is Exit.OK


@pytest.mark.parametrize("text", ["1", "1:", ":1", "a:1", "1:-1", "1:" + "9" * 30])
def test_a_place_that_is_none_is_a_mistake_of_usage(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="PARTITION:OFFSET"):
        _position(text)
