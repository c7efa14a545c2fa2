"""The rows of any view on the command line, now and then."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime

import orjson
import pytest
from examples.projections.time_to_owner import projection

from meshline.cli.main import run
from meshline.cli.own_views import VARIABLE
from meshline.events.log import open_log
from meshline.projections.from_scratch import fold_views
from tests.projections.streams import fill, new_log, write

MOMENT = datetime(2026, 3, 1, 8, 1, tzinfo=UTC)


@pytest.fixture
def view(postgres_address: str, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    monkeypatch.setenv(VARIABLE, "examples.projections.time_to_owner")

    async def prepare() -> None:
        stream, log = write(31, 40), open_log(postgres_address)
        await log.open(create_partitions=len(stream.partitions))
        await fill(log, stream.entries)
        await log.aclose()

    asyncio.run(prepare())
    where = ["--log", postgres_address, "--views", postgres_address]
    return lambda *words: run(["view", *words, *where])


@pytest.mark.postgres
def test_the_rows_of_a_view_of_ones_own_are_shown_now_and_as_of_a_moment(
    view: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    async def folded() -> list[str]:
        stream, log = write(31, 40), await new_log()
        await fill(log, stream.entries)
        store = await fold_views(log, [projection])
        return [row[0] for row in await store.rows(projection.tables[0])]

    table = projection.tables[0].name
    for command in (["rebuild", projection.name], ["swap", projection.name]):
        assert view(*command) == 0
    capsys.readouterr()

    def shown(*words: str) -> list[dict[str, object]]:
        command = ["rows", projection.name, "--table", table, "-o", "jsonl", *words]
        assert view(*command) == 0
        return [orjson.loads(line) for line in capsys.readouterr().out.splitlines()]

    now = shown("--limit", "1000")
    assert [row[projection.tables[0].key[0]] for row in now] == asyncio.run(folded())
    assert shown("--limit", "1000", "--as-of", "2200-01-01") == now
    before = shown("--limit", "1000", "--as-of", f"{MOMENT:%Y-%m-%d %H:%M}", "--by", "recorded")
    assert 0 < len(before) < len(now)
    assert shown("--as-of-position", "0:0,1:0") == []

    assert view("rows", projection.name, "--table", table, "--limit", "2") == 0
    out = capsys.readouterr()
    assert len(out.out.splitlines()) == 3
    assert "more than these 2" in out.err


@pytest.mark.postgres
def test_what_is_not_there_is_told(
    view: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert view("rows", "ownership", "--table", "owners", "--as-of", "2026-03-01") == 2
    assert "expected one of ownership, ownership_periods" in capsys.readouterr().err
    assert view("rows", "nothing", "--as-of", "2026-03-01") == 2
    assert "no view 'nothing'" in capsys.readouterr().err
    assert view("rows", "runs") != 0
    assert "start `meshline projector`" in capsys.readouterr().err
