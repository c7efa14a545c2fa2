"""The embedded PostgreSQL: shared, durable, and started again after every kind of kill."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from meshline.cli import embedded
from meshline.cli.embedded import EmbeddedPostgres, EmbeddedUnavailable

pytestmark = pytest.mark.postgres

# Uses the server in a directory until it is killed.
USER = """
import sys, time
from pathlib import Path
from meshline.cli.embedded import EmbeddedPostgres
server = EmbeddedPostgres(Path(sys.argv[1]))
print(server.start(), flush=True)
time.sleep(600)
"""


@pytest.fixture(scope="module")
def made() -> Iterator[Path]:
    """A directory with a database in it, made once."""
    folder = Path(tempfile.mkdtemp(prefix="meshline-test-"))
    with EmbeddedPostgres(folder):
        pass
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def directory(made: Path) -> Iterator[Path]:
    yield made
    # Whatever a test left running is joined and stopped.
    last = EmbeddedPostgres(made)
    last.start()
    last.close()


def ask(dsn: str, query: str) -> Any:
    async def run() -> Any:
        connection = await asyncpg.connect(dsn)
        try:
            return await connection.fetchval(query)
        finally:
            await connection.close()

    return in_a_loop(run)


def in_a_loop(work: Callable[[], Awaitable[Any]]) -> Any:
    with asyncio.Runner() as runner:
        return runner.run(work())  # type: ignore[arg-type]


def is_running(directory: Path) -> bool:
    lock = embedded._open_lock(directory / "server.lock")
    try:
        return not embedded._try_lock(lock)
    finally:
        os.close(lock)


def use(directory: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", USER, str(directory)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline().startswith("postgresql://")
    return process


def kill(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()


def test_it_is_durable_and_reachable_for_this_machine_only(directory: Path) -> None:
    with EmbeddedPostgres(directory) as server:
        settings = {
            name: ask(server.dsn, f"SHOW {name}")
            for name in ("fsync", "synchronous_commit", "full_page_writes", "listen_addresses")
        }

    assert settings == {
        "fsync": "on",
        "synchronous_commit": "on",
        "full_page_writes": "on",
        "listen_addresses": "",
    }


def test_the_last_of_several_users_stops_it(directory: Path) -> None:
    first, second = EmbeddedPostgres(directory), EmbeddedPostgres(directory)

    same = first.start() == second.start() == first.start()
    first.close()
    still = is_running(directory) and ask(second.dsn, "SELECT 1")
    second.close()
    second.close()

    assert same
    assert still == 1
    assert not is_running(directory)


def test_it_outlives_the_process_that_started_it_while_others_use_it(directory: Path) -> None:
    starter = use(directory)
    with EmbeddedPostgres(directory) as server:
        kill(starter)
        answer = ask(server.dsn, "SELECT 1")

    assert answer == 1
    assert not is_running(directory)


def test_after_its_last_user_is_killed_the_next_one_joins_it(directory: Path) -> None:
    starter = use(directory)
    kill(starter)
    idle = is_running(directory)

    with EmbeddedPostgres(directory) as server:
        answer = ask(server.dsn, "SELECT 1")

    assert idle
    assert answer == 1
    assert not is_running(directory)


def test_a_killed_server_is_started_again_and_has_what_was_committed(directory: Path) -> None:
    with EmbeddedPostgres(directory) as server:
        ask(server.dsn, "DROP TABLE IF EXISTS kept")
        ask(server.dsn, "CREATE TABLE kept AS SELECT 42 AS answer")
        before = server.process_id
        assert before is not None

        os.kill(before, signal.SIGKILL)
        server.start()

        assert server.process_id != before
        assert ask(server.dsn, "SELECT answer FROM kept") == 42


def test_a_stale_note_of_a_process_that_is_now_another_one_does_not_matter(
    directory: Path,
) -> None:
    starter = use(directory)
    note = directory / "data/postmaster.pid"
    server_id = int(note.read_text().splitlines()[0])
    lines = note.read_text().splitlines()
    kill(starter)
    os.kill(server_id, signal.SIGKILL)
    while is_running(directory):
        time.sleep(0.01)
    # As in a container that was started again: the id belongs to somebody else now.
    note.write_text("\n".join([str(os.getppid()), *lines[1:]]) + "\n")

    with EmbeddedPostgres(directory) as server:
        answer = ask(server.dsn, "SELECT 1")

    assert answer == 1


def test_a_beginning_that_was_interrupted_is_made_again() -> None:
    folder = Path(tempfile.mkdtemp(prefix="meshline-test-"))
    (folder / "data.new-1").mkdir()
    (folder / "data.new-1" / "PG_VERSION").write_text("18\n")

    with EmbeddedPostgres(folder) as server:
        answer = ask(server.dsn, "SELECT 1")

    assert answer == 1
    assert not list(folder.glob("data.new-*"))
    shutil.rmtree(folder)


def test_a_directory_whose_path_is_too_long_for_a_socket_is_fine() -> None:
    folder = Path(tempfile.mkdtemp(prefix="meshline-test-"))
    folder.chmod(0o755)
    long = folder / ("x" * 120)

    with EmbeddedPostgres(long) as server:
        dsn = server.dsn
        answer = ask(dsn, "SELECT 1")

    assert answer == 1
    assert "x" * 120 not in dsn
    shutil.rmtree(folder)


def test_a_data_directory_of_something_else_is_refused_with_the_servers_words() -> None:
    folder = Path(tempfile.mkdtemp(prefix="meshline-test-"))
    (folder / "data").mkdir(mode=0o700)

    with pytest.raises(EmbeddedUnavailable, match="ended at its start") as caught:
        EmbeddedPostgres(folder, deadline_s=5).start()

    assert "server.log" in str(caught.value)
    shutil.rmtree(folder)


def test_without_the_wheel_it_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded, "WHEEL", "no_such_wheel")

    with pytest.raises(EmbeddedUnavailable, match="give the DSN of a server of your own"):
        EmbeddedPostgres(tmp_path).start()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs the server as somebody else")
def test_root_opens_nothing_to_others_where_they_cannot_enter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = Path(tempfile.mkdtemp(prefix="meshline-test-"))
    elsewhere.chmod(0o755)
    monkeypatch.setattr(embedded, "ELSEWHERE", elsewhere)
    home = tmp_path / "home"
    home.mkdir(mode=0o700)

    with EmbeddedPostgres(home / "postgres") as server:
        answer = ask(server.dsn, "SELECT 1")

    assert answer == 1
    assert (home / "postgres").resolve().parent == elsewhere
    assert home.stat().st_mode & 0o777 == 0o700
    shutil.rmtree(elsewhere)
