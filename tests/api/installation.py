"""A whole Meshline in this process, with the API in front of it: worker, projector, keys."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
from fastapi import FastAPI

from meshline.api import ApiSettings, Services, create_api, create_health
from meshline.api.accounts import Accounts
from meshline.api.keys import ApiKeys
from meshline.api.refusals import Refusals
from meshline.api.webhooks import Webhooks
from meshline.cli.processes import Service, open_or_create, viewing_on, worker_on
from meshline.events.envelope import Position
from meshline.events.log import EventLog
from meshline.events.publish import Publisher
from meshline.projections.bulk import Bulks
from meshline.projections.projection import Projection
from meshline.projections.queries import Views
from meshline.workflow.registry import Registry

__all__ = ["GAP_S", "Client", "Installation", "installed", "reaches", "registered", "until_seen"]


@dataclass
class Installation:
    """What a test speaks to; ``as_`` gives a client with a key of its own."""

    log: EventLog
    keys: ApiKeys
    accounts: Accounts
    transport: httpx.ASGITransport
    health: httpx.ASGITransport
    services: Services
    api: FastAPI

    async def until_seen(self, *names: str) -> None:
        """Return as soon as these views show all that the log holds now."""
        await until_seen(self.log, self.services.views, *names)

    @asynccontextmanager
    async def as_(self, actor: str | None, *roles: str, **narrowed: Any) -> AsyncIterator[Client]:
        headers = {}
        if actor is not None:
            _, secret = await self.keys.create(actor, roles, made_by="user:test", **narrowed)
            headers["Authorization"] = f"Bearer {secret}"
        async with httpx.AsyncClient(
            transport=self.transport, base_url="http://localhost", headers=headers, timeout=90
        ) as http:
            yield Client(http)


@dataclass
class Client:
    """Reads and asks; each call says which status it must be answered with."""

    http: httpx.AsyncClient

    async def get(self, path: str, *, status: int = 200, **query: Any) -> Any:
        answer = await self.http.get(path, params=query)
        assert answer.status_code == status, answer.text
        return answer.json()

    async def post(self, path: str, body: Any = None, status: int = 202, **query: Any) -> Any:
        answer = await self.http.post(path, json={} if body is None else body, params=query)
        assert answer.status_code == status, answer.text
        return answer.json()


GAP_S = 0.3
"""Between two reports of what is refused alike."""

SETTINGS = ApiSettings(body_bytes_max=200_000, unknown_per_s=10_000)


async def until_seen(log: EventLog, views: Views, *names: str) -> None:
    """Return as soon as these views show all that the log holds now."""
    ends = await log.ends()
    last = [Position(partition, end - 1) for partition, end in ends.items() if end]
    await views.reached(last, names, timeout_s=30)


async def registered(views: Views, registry: Registry) -> None:
    """Return as soon as the views show all that a worker has registered."""
    async with asyncio.timeout(90):
        while len(await views.workflows()) < len(registry):  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def reaches(client: Client, run_id: str, state: str) -> Any:
    """Return the run as soon as it is in this state."""
    async with asyncio.timeout(90):
        while True:
            answer = await client.http.get(f"/v1/runs/{run_id}")
            if answer.status_code == 200 and answer.json()["state"] == state:
                return answer.json()
            await asyncio.sleep(0.02)


@asynccontextmanager
async def installed(
    address: str,
    registry: Registry,
    settings: ApiSettings = SETTINGS,
    webhooks: Webhooks | None = None,
    projections: Sequence[Projection] = (),
) -> AsyncIterator[Installation]:
    """An installation whose log and views are at the address."""
    views, keys, bulks = Views(address), ApiKeys(address), Bulks(address)
    accounts = Accounts(address, cost=16)
    try:
        async with (
            open_or_create(address, 2) as log,
            worker_on(log, registry, views=None, name="worker") as worker,
            viewing_on(log, address, projections) as viewing,
            Service(log, worker=worker, viewing=viewing) as service,
            Publisher(log) as publisher,
        ):
            await keys.open()
            await accounts.open()
            await bulks.open()
            await service.ready()
            await registered(views, registry)
            refusals = Refusals(publisher, views, gap_s=GAP_S)
            async with Services(
                log,
                publisher,
                views,
                refusals=refusals,
                bulks=bulks,
                views_at=address,
                keys=keys,
                accounts=accounts,
            ) as services:
                api = create_api(services, keys, settings, webhooks)
                yield Installation(
                    log,
                    keys,
                    accounts,
                    httpx.ASGITransport(api, raise_app_exceptions=False),
                    httpx.ASGITransport(create_health(services)),
                    services,
                    api,
                )
    finally:
        await accounts.aclose()
        await bulks.aclose()
        await keys.aclose()
        await views.aclose()
