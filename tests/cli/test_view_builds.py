"""The commands about builds of views, from the command line to PostgreSQL."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import orjson
import pytest

from meshline.cli.main import run
from meshline.cli.view_rebuild import _verdict_lines
from meshline.events.log import open_log
from meshline.projections.from_scratch import Difference
from meshline.projections.ownership_view import PeriodRow
from meshline.projections.rebuild_verify import Verdict
from tests.projections.streams import fill, write


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
    view: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    for command in (
        ["rebuild", "runs", "ownership"],
        ["swap", "runs"],
        ["rebuild", "runs", "--output", "jsonl"],
        ["swap", "runs"],
        ["rollback", "runs"],
        ["verify", "runs"],
        ["retire", "runs", "--version", "1", "--build", "2"],
    ):
        assert view(*command) == 0, command
    out = capsys.readouterr().out
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

    assert view("retire", "runs", "--version", "1") == 3
    assert view("pause", "runs") == 4
    assert view("rebuild", "nothing") == 2


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
