"""What is looked at before anything else, and how much a server takes on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from meshline.api.guard import ApiSettings, Guard
from meshline.api.problems import TooMany
from meshline.api.rates import Rates
from meshline.workflow.registry import Registry
from tests.api.installation import installed
from tests.api.leads import SOURCE, leads


class Application:
    """Answers as soon as it is let."""

    def __init__(self) -> None:
        self.go_on = asyncio.Event()
        self.answered = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self.go_on.wait()
        self.answered += 1
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"{}"})


@pytest.fixture
async def application() -> Application:
    return Application()


@pytest.fixture
async def client(application: Application) -> AsyncIterator[httpx.AsyncClient]:
    settings = ApiSettings(
        hosts=frozenset({"meshline.example"}), origins=frozenset({"https://ops.example"}),
        body_bytes_max=100, in_flight_max=2,
    )  # fmt: skip
    transport = httpx.ASGITransport(Guard(application, settings))
    async with httpx.AsyncClient(transport=transport, base_url="http://meshline.example") as found:
        yield found


JSON = {"Content-Type": "application/json"}


@pytest.mark.parametrize(
    ("method", "headers", "status", "code"),
    [
        ("GET", {"Host": "evil.example"}, 400, "unknown_host"),
        ("GET", {"Host": "127.0.0.1"}, 400, "unknown_host"),
        ("GET", {"Origin": "https://evil.example"}, 403, "unknown_origin"),
        ("GET", {"Origin": "http://meshline.example:3000"}, 403, "unknown_origin"),
        ("GET", {"Origin": "null"}, 403, "unknown_origin"),
        ("POST", JSON | {"Content-Length": "101"}, 413, "too_large"),
        ("POST", JSON | {"Content-Length": "-1"}, 411, "length_required"),
        ("POST", {"Content-Type": "text/plain", "Content-Length": "2"}, 415, "not_json"),
        ("POST", {"Content-Length": "2"}, 415, "not_json"),
    ],
)
async def test_what_no_client_of_ours_sends_is_turned_away(
    client: httpx.AsyncClient,
    application: Application,
    method: str,
    headers: dict[str, str],
    status: int,
    code: str,
) -> None:
    application.go_on.set()

    answer = await client.request(method, "/", headers=headers, content=b"")

    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert application.answered == 0


@pytest.mark.parametrize("origin", ["http://meshline.example", "https://ops.example"])
async def test_its_own_pages_and_those_that_are_listed_may(
    client: httpx.AsyncClient, application: Application, origin: str
) -> None:
    application.go_on.set()

    assert (await client.get("/", headers={"Origin": origin})).status_code == 200


async def test_more_than_it_may_take_on_is_told_to_come_again(
    client: httpx.AsyncClient, application: Application
) -> None:
    under_way = [asyncio.create_task(client.get("/")) for _ in range(2)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    refused = await client.get("/")
    application.go_on.set()
    answered = await asyncio.gather(*under_way)
    after = await client.get("/")

    assert (refused.status_code, refused.json()["code"]) == (503, "too_busy")
    assert int(refused.headers["retry-after"]) > 0
    assert [a.status_code for a in [*answered, after]] == [200] * 3


async def test_a_key_that_asks_too_often_waits_and_no_other() -> None:
    rates = Rates(per_s=0.5, burst_max=3)
    for _ in range(3):
        rates.take("key a")

    with pytest.raises(TooMany) as told:
        rates.take("key a")

    assert 0 < told.value.after_s <= 2
    rates.take("key b")


@pytest.mark.postgres
async def test_who_asks_too_often_is_told_when_to_come_again(postgres_address: str) -> None:
    settings = ApiSettings(rate_per_s=0.1, burst_max=5, unknown_per_s=3)
    async with (
        installed(postgres_address, Registry(leads), settings) as meshline,
        meshline.as_("service:web", "source") as web,
        meshline.as_("user:ada", "viewer") as ada,
        meshline.as_(None) as nobody,
    ):
        for number in range(5):
            await web.post("/v1/triggers", {}, 422, source=SOURCE, id=f"F-{number}", wait_s=30)
        refused = await web.http.post("/v1/triggers", json={}, params={"source": SOURCE, "id": "F"})
        await ada.get("/v1/runs")
        unknown = [(await nobody.http.get("/v1/runs")).status_code for _ in range(5)]

    assert (refused.status_code, refused.json()["code"]) == (429, "ML6009")
    assert 1 <= int(refused.headers["retry-after"]) <= 10
    assert unknown == [401, 401, 401, 429, 429]
