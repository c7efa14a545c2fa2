"""Where the fault tests keep what their servers write."""

from __future__ import annotations

import shutil
import tempfile
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from deploy.kafka.broker import KafkaBroker, missing_tools

from meshline.cli.embedded import SOCKET
from tests.acceptance.support.places import Place
from tests.faults.support.proxy import Proxy

for module in ("tests.acceptance.support.verdict", "tests.faults.support.history"):
    pytest.register_assert_rewrite(module)


@pytest.fixture
def servers() -> Iterator[Path]:
    """A folder for Kafka and PostgreSQL."""
    if (missing := missing_tools()) is not None:
        pytest.skip(f"No Kafka broker here: {missing}")
    # Not pytest's folder: nobody but its owner can enter that, and root's server isn't root.
    folder = Path(tempfile.mkdtemp(prefix="meshline-faults-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def place_on(kafka_servers: str, postgres_dsn: str) -> Place:
    """A log and views that are not there yet."""
    name = f"t{uuid.uuid4().hex[:10]}"
    mark = "&" if "?" in postgres_dsn else "?"
    return Place(
        "kafka",
        f"kafka://{kafka_servers}/{name}",
        f"{postgres_dsn}{mark}meshline_namespace={name}",
    )


@pytest.fixture
def place(kafka_servers: str, postgres_dsn: str) -> Place:
    return place_on(kafka_servers, postgres_dsn)


@pytest.fixture
def fragile_place(kafka_broker: KafkaBroker, postgres_dsn: str) -> Place:
    """On a broker that this test may stop."""
    return place_on(kafka_broker.address, postgres_dsn)


@pytest.fixture
async def line(postgres_dsn: str) -> AsyncIterator[Proxy]:
    """To the server that the tests share."""
    parts = urlsplit(postgres_dsn)
    host = parse_qs(parts.query).get("host")
    proxy = Proxy(f"{host[0]}/{SOCKET}" if host else parts.port)
    await proxy.start()
    yield proxy
    await proxy.aclose()
