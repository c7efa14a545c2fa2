"""``meshline verify`` on PostgreSQL: a log and views that are well, and each damage by its name."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg
import orjson
import pytest

from meshline.cli.main import run
from meshline.engine.postgres_snapshots import PostgresSnapshots
from meshline.events.envelope import Position
from meshline.events.log import open_log
from meshline.projections import history_view
from meshline.projections.built_in import BUILT_IN
from meshline.projections.lag import reached
from meshline.projections.postgres_connection import parse_address
from meshline.projections.postgres_store import PostgresStore
from meshline.projections.projector import Projector
from meshline.projections.runs_view import projection as runs
from tests.engine.day import GOOD, HELD, live_a_day
from tests.services.postgres import namespace

pytestmark = [pytest.mark.postgres, pytest.mark.slow]

APP = "tests.engine.day:REGISTRY"


@pytest.fixture(scope="module")
def address(postgres_dsn: str) -> str:
    """A log with a day in it, views of it, and a worker's snapshots."""
    where = namespace(postgres_dsn)

    async def prepare() -> None:
        log = open_log(where)
        await log.open(create_partitions=2)
        parsed = parse_address(where)
        snapshots = PostgresSnapshots(
            parsed.dsn, log.identity.log_id, schema=f"{parsed.namespace}_engine"
        )
        await snapshots.open()
        await live_a_day(log, snapshots)
        store = PostgresStore(where)
        await store.open()
        projector = Projector(log, store)
        running = asyncio.create_task(projector.run())
        last = [Position(p, end - 1) for p, end in (await log.ends()).items()]
        await reached(store, last, [p.name for p in BUILT_IN], timeout_s=60)
        projector.stop()
        await running
        await store.aclose()
        await snapshots.aclose()
        await log.aclose()

    asyncio.run(prepare())
    return where


class Verified:
    def __init__(self, address: str, capsys: pytest.CaptureFixture[str]) -> None:
        parsed = parse_address(address)
        self.address = address
        self.dsn, self.namespace = parsed.dsn, parsed.namespace
        self._capsys = capsys

    def __call__(self, *words: str, code: int) -> list[dict[str, Any]]:
        where = ["--log", self.address, "--views", self.address, "--output", "jsonl"]
        self._capsys.readouterr()
        ended = run(["verify", *words, *where])
        self.said = self._capsys.readouterr()
        assert ended == code, self.said
        return [orjson.loads(line) for line in self.said.out.splitlines()]

    def read(self) -> str:
        """What was written since; nothing is left of it."""
        return self._capsys.readouterr().out

    def sql(self, *statements: str) -> None:
        async def execute() -> None:
            connection = await asyncpg.connect(self.dsn)
            try:
                for statement in statements:
                    await connection.execute(statement.format(ns=self.namespace))
            finally:
                await connection.close()

        asyncio.run(execute())


@pytest.fixture
def verified(address: str, capsys: pytest.CaptureFixture[str]) -> Iterator[Verified]:
    """Afterwards everything that a test changed is as before."""
    call = Verified(address, capsys)
    tables = [
        "{ns}_log.records", "{ns}_views.checkpoints", "{ns}_views.parked",
        "{ns}_engine.snapshots", f"{{ns}}_view_runs_v{runs.version}.runs",
    ]  # fmt: skip
    call.sql(*(f"create table {t}_kept as table {t}" for t in tables))
    yield call
    for table in tables:
        call.sql(
            f"delete from {table}",
            f"insert into {table} select * from {table}_kept",
            f"drop table {table}_kept",
        )


def test_a_log_and_views_that_are_well_have_no_violation(verified: Verified) -> None:
    assert verified(APP, code=0) == []
    assert "0 errors, 0 warnings" in verified.said.err
    assert "1 runs are open, 1 have ended" in verified.said.err


LAST = """where ("offset", partition) = (
    select max("offset"), partition from {ns}_log.records group by partition
    order by count(*) desc limit 1)"""
SAID = "encode(value, 'escape') like '%step.succeeded%'"

LOG_DAMAGES = {
    "records_missing": f"delete from {{ns}}_log.records where {SAID}",
    "log_cut_off": f"delete from {{ns}}_log.records {LAST}",
    "fact_unreadable": (
        "update {ns}_log.records set value = substring(value for length(value) - 1) || '!' "
        f"where {SAID}"
    ),
}
# All at once: none of them hides another.
VIEW_DAMAGES = {
    "view_row_wrong": f"update {{ns}}.runs set owner = 'user:mallory' where run_id = '{HELD}'",
    "checkpoint_wrong": (
        "update {ns}_views.checkpoints set next_offset = next_offset - 1 where name = 'ownership'"
    ),
    "view_parked": f"""insert into {{ns}}_views.parked
        select name, version, build, 0, 1, '{GOOD}', 'meshline.run.started.v1', 'failed', true,
        'an error', 'a stack' from {{ns}}_views.views where name = 'history'""",
    "snapshot_wrong": """update {ns}_engine.snapshots
        set body = convert_to(replace(convert_from(body, 'utf8'), 'team:shop', 'team:else'),
        'utf8')""",
}


@pytest.mark.parametrize("code", LOG_DAMAGES)
def test_each_damage_to_the_log_is_named(verified: Verified, code: str) -> None:
    verified.sql(LOG_DAMAGES[code])
    # What views and snapshots say of the log tells that its end is missing.
    words = [] if code == "log_cut_off" else ["--log-only"]

    found = verified(APP, *words, code=1)

    named = [each for each in found if each["code"] == code]
    assert named, found
    assert all(each["severity"] == "error" and each["at"] for each in named)
    assert all(each["expected"] and each["found"] and each["do"] for each in named)


def test_each_damage_to_views_and_snapshots_is_named(verified: Verified) -> None:
    verified.sql(*VIEW_DAMAGES.values())

    found = verified(APP, code=1)

    assert {each["code"] for each in found} == {*VIEW_DAMAGES}
    (row,) = [each for each in found if each["code"] == "view_row_wrong"]
    assert HELD in row["about"]
    assert (row["expected"], row["found"]) == ("owner='team:shop'", "owner='user:mallory'")
    (parked,) = [each for each in found if each["code"] == "view_parked"]
    assert parked["about"] == f"history version {history_view.projection.version}"


def test_a_seal_finds_bytes_that_still_make_sense(verified: Verified, tmp_path: Path) -> None:
    where = ["--log", verified.address, "--views", verified.address]
    assert run(["log", "seal", *where]) == 0
    seal = tmp_path / "seal.json"
    seal.write_text(verified.read(), "utf-8")
    assert verified(APP, "--log-only", "--seal", str(seal), code=0) == []

    verified.sql(
        """update {ns}_log.records set value = convert_to(replace(
        convert_from(value, 'utf8'), '"number":1', '"number":8'), 'utf8') where """
        + SAID
    )
    assert verified(APP, "--log-only", code=0) == []
    (found,) = verified(APP, "--log-only", "--seal", str(seal), code=1)

    assert found["code"] == "history_changed"
    assert found["about"] == str(seal)


def test_what_an_old_keeper_or_a_repeat_says_is_void_and_no_violation(verified: Verified) -> None:
    verified.sql(
        """insert into {ns}_log.records select partition, (select max("offset") + 1
        from {ns}_log.records l where l.partition = r.partition), key, value, appended_ms
        from {ns}_log.records r where """
        + SAID
    )

    assert verified(APP, "--log-only", code=0) == []
    assert "1 facts are void" in verified.said.err


def test_what_is_no_seal_is_a_mistake_of_usage(verified: Verified, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.json"
    wrong.write_text("[]", "utf-8")

    assert verified("--seal", str(wrong), code=2) == []
    assert "meshline log seal" in verified.said.err
    assert verified("--seal", str(tmp_path / "none"), code=2) == []
    assert verified("no.such.app", code=2) == []


def test_in_text_each_violation_says_what_to_do(
    verified: Verified, capsys: pytest.CaptureFixture[str]
) -> None:
    verified.sql(LOG_DAMAGES["records_missing"])
    capsys.readouterr()

    assert run(["verify", "--log-only", "--log", verified.address]) == 1

    out = capsys.readouterr().out
    for word in ("error", "records_missing", "expected", "found", "do", "restore"):
        assert word in out
