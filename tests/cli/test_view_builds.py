"""The commands about builds of views, from the command line to PostgreSQL."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import orjson
import pytest

from meshline.cli.main import run
from meshline.cli.view_rebuild import _verdict_lines, progress_text
from meshline.events.log import open_log
from meshline.events.log.memory import MemoryLog
from meshline.projections import ownership_view, runs_view
from meshline.projections.from_scratch import Difference
from meshline.projections.ownership_view import PeriodRow
from meshline.projections.postgres_builds import Builds
from meshline.projections.postgres_store import PostgresStore
from meshline.projections.rebuild import Progress
from meshline.projections.rebuild_verify import Verdict
from tests.projections.streams import fill, write

VERSION = str(runs_view.projection.version)


@pytest.fixture
def view(postgres_address: str) -> Callable[..., int]:
    async def prepare() -> None:
        stream, log = write(31, 40), open_log(postgres_address)
        await log.open(create_partitions=len(stream.partitions))
        await fill(log, stream.entries)
        await log.aclose()

    asyncio.run(prepare())
    where = ["--log", postgres_address, "--views", postgres_address]
    return lambda *words: run(["view", *words, *where])


@pytest.mark.postgres
@pytest.mark.slow
def test_from_a_rebuild_to_going_back(
    view: Callable[..., int],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("meshline.cli.view_builds.FED_WITHIN_S", 0.0)
    for command in (
        ["rebuild", "runs", "ownership"],
        ["swap", "runs"],
        ["rebuild", "runs", "--output", "jsonl"],
        ["swap", "runs"],
        ["rollback", "runs"],
        ["verify", "runs"],
        ["retire", "runs", "--version", VERSION, "--build", "2"],
    ):
        assert view(*command) == 0, command
    out, words = capsys.readouterr()
    assert "No projector feeds it at this moment" in words
    progress = [orjson.loads(line) for line in out.splitlines() if line.startswith("{")]
    assert progress[-1]["done"] == progress[-1]["total"] > 0
    assert "runs: equal" in out

    assert view("list", "--output", "json") == 0
    builds = orjson.loads(capsys.readouterr().out)
    assert [(b["name"], b["build"], b["state"], b["code_changed"]) for b in builds] == [
        ("ownership", 1, "warm", False),
        ("runs", 1, "live", False),
    ]
    assert view("list", "--history", "--output", "json") == 0
    history = orjson.loads(capsys.readouterr().out)
    assert [change["what"] for change in history] == ["swap", "swap", "rollback", "retire"]

    assert view("retire", "runs", "--version", VERSION) == 3
    assert view("pause", "runs") == 4
    assert view("rebuild", "nothing") == 2


@pytest.mark.postgres
@pytest.mark.slow
def test_a_rebuild_whose_process_was_killed_is_not_said_to_go_on(
    view: Callable[..., int], postgres_address: str, capsys: pytest.CaptureFixture[str]
) -> None:
    async def begin() -> None:
        log, books = open_log(postgres_address), Builds(postgres_address)
        await log.open()
        await books.open()
        await books.begin(runs_view.projection, log.identity)
        await books.aclose()
        await log.aclose()

    asyncio.run(begin())

    assert view("swap", "runs") == 3
    assert f"runs version {VERSION} is not loaded yet" in capsys.readouterr().err
    assert view("pause", "runs") == 0
    assert "To go on: meshline view rebuild runs" in capsys.readouterr().err
    assert view("list", "--output", "json") == 0
    assert [build["state"] for build in orjson.loads(capsys.readouterr().out)] == ["paused"]
    assert view("resume", "runs") == 1
    assert "does not go on: start one with `meshline view rebuild runs`" in capsys.readouterr().err
    assert view("cancel", "runs") == 0
    assert f"Dropped runs version {VERSION}." in capsys.readouterr().err
    assert view("cancel", "runs") == 4


@pytest.mark.postgres
async def test_a_build_has_a_writer_while_a_process_is_at_work_on_it(postgres_address: str) -> None:
    log, books = MemoryLog(), Builds(postgres_address)
    await log.open(create_partitions=1)
    await books.open()
    build = await books.begin(runs_view.projection, log.identity)
    other = await books.begin(ownership_view.projection, log.identity)
    store = PostgresStore(postgres_address, builds={"runs": build.build})

    assert not await books.has_writer(build)
    assert await store.acquire(runs_view.projection)
    assert await books.has_writer(build) and not await books.has_writer(other)
    await store.aclose()
    assert not await books.has_writer(build)
    await books.aclose()


def test_progress_can_be_read_where_nothing_can_move() -> None:
    progress = Progress(1_200, 4_000, 350.4, 8.0, {})

    assert progress_text("Rebuilding", progress) == (
        "Rebuilding: 1,200 of 4,000 events (30%), 350/s, 8 s left"
    )


def test_a_verdict_names_key_column_and_both_values() -> None:
    row = PeriodRow._make(["run-1", 1, "lead", "user:ada", *[None] * (len(PeriodRow._fields) - 4)])
    samples = [
        Difference("ownership_periods", ("run-1", 1), row, row._replace(owner="user:bob")),
        Difference("ownership_periods", ("run-2", 1), None, row),
    ]

    lines = _verdict_lines(Verdict("ownership", 9, 2, samples, {0: 5}))

    assert lines == [
        "ownership: 2 of 9 rows differ. The first:",
        "  ownership_periods run-1, 1: owner is 'user:ada', should be 'user:bob'",
        "  ownership_periods run-2, 1: missing in the live view",
    ]
