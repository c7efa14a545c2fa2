"""A PostgreSQL for the tests: one embedded server for the session, a fresh namespace for each test.

With MESHLINE_TEST_POSTGRES=postgresql://… that server is used instead of one of our own.
"""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from meshline.cli.embedded import EmbeddedPostgres, EmbeddedUnavailable

__all__ = ["fragile_postgres_address", "postgres_address", "postgres_dsn", "postgres_server"]


def new_server() -> Iterator[EmbeddedPostgres]:
    """Run a server; skip the test, loudly, where there can be none."""
    # Not pytest's folder: nobody but its owner can enter that, and root's server isn't root.
    folder = Path(tempfile.mkdtemp(prefix="meshline-test-"))
    try:
        with EmbeddedPostgres(folder) as server:
            yield server
    except EmbeddedUnavailable as error:
        pytest.skip(f"No PostgreSQL here: {error}")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def namespace(dsn: str) -> str:
    """Return the address of a log on this server that is not there yet."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    return f"{dsn}{'&' if '?' in dsn else '?'}meshline_namespace={name}"


@pytest.fixture(scope="session")
def postgres_dsn(request: pytest.FixtureRequest) -> str:
    """The server that the tests share. Never stop it."""
    given = os.environ.get("MESHLINE_TEST_POSTGRES")
    if given:
        return given
    server: EmbeddedPostgres = request.getfixturevalue("_shared_postgres_server")
    return server.dsn


@pytest.fixture(scope="session")
def _shared_postgres_server() -> Iterator[EmbeddedPostgres]:
    yield from new_server()


@pytest.fixture(scope="session")
def _fragile_postgres_server() -> Iterator[EmbeddedPostgres]:
    yield from new_server()


@pytest.fixture
def postgres_server(_fragile_postgres_server: EmbeddedPostgres) -> Iterator[EmbeddedPostgres]:
    """A server to kill and to start again at will; it runs again for the next test.

    It is not the one that other tests share.
    """
    yield _fragile_postgres_server
    process_id = _fragile_postgres_server.process_id
    if process_id is not None:
        with suppress(ProcessLookupError):
            os.kill(process_id, signal.SIGCONT)
    _fragile_postgres_server.start()


@pytest.fixture
def postgres_address(postgres_dsn: str) -> str:
    """The address of a log that is not there yet."""
    return namespace(postgres_dsn)


@pytest.fixture
def fragile_postgres_address(postgres_server: EmbeddedPostgres) -> str:
    """As ``postgres_address``, but on the server that this test may kill."""
    return namespace(postgres_server.dsn)
