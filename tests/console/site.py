"""A whole Meshline in this process, with console and API in front of it, and people to sign in."""

from __future__ import annotations

import html
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx

from meshline.api import create_api
from meshline.api.accounts import Accounts
from meshline.api.desk import Services
from meshline.api.keys import ApiKeys
from meshline.cli.processes import Service, open_or_create, viewing_on, worker_on
from meshline.cli.serve import listening
from meshline.console import beside, create_console
from meshline.console.oidc_login import OidcLogin
from meshline.events.log import EventLog
from meshline.events.publish import Publisher
from meshline.projections.bulk import Bulks
from meshline.projections.projection import Projection
from meshline.projections.queries import Views
from meshline.workflow.registry import Registry
from tests.api.installation import registered

__all__ = ["Browser", "Site", "site_at"]

PASSWORD = "correct horse battery"


@dataclass
class Site:
    """What a test looks at; ``as_`` gives a browser without JavaScript, signed in."""

    log: EventLog
    publisher: Publisher
    views: Views
    bulks: Bulks
    accounts: Accounts
    keys: ApiKeys
    app: Any
    names: set[str] = field(default_factory=set)

    async def user(self, name: str, *roles: str, **scope: Any) -> None:
        """See that there is such a user."""
        if name not in self.names:
            await self.accounts.create(name, roles, made_by="user:test", password=PASSWORD, **scope)
            self.names.add(name)

    @asynccontextmanager
    async def as_(self, name: str | None, *roles: str) -> AsyncIterator[Browser]:
        transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
        async with httpx.AsyncClient(
            transport=transport, base_url="http://localhost", timeout=90
        ) as http:
            browser = Browser(http)
            if name is not None:
                await self.user(name, *roles)
                await browser.sign_in(name, PASSWORD)
            yield browser


@dataclass
class Browser:
    """Opens pages and sends the forms that it finds on them."""

    http: httpx.AsyncClient
    page: str = ""

    async def open(self, path: str, status: int = 200) -> str:
        answer = await self.http.get(path, follow_redirects=True)
        assert answer.status_code == status, answer.text
        self.page = answer.text
        return self.page

    async def sign_in(self, name: str, password: str, status: int = 303) -> httpx.Response:
        await self.open("/login")
        return await self.send("/login", {"name": name, "password": password}, status=status)

    async def send(
        self, action: str, filled: Mapping[str, str] | None = None, status: int = 303
    ) -> httpx.Response:
        """Send a form of the page that is open, with what is hidden in it."""
        found = re.search(rf'<form[^>]*action="{re.escape(action)}"[^>]*>.*?</form>', self.page,
                          re.DOTALL)  # fmt: skip
        assert found, f"the page has no form for {action}: {self.page}"
        hidden = dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', found[0]))
        name = re.search(r'id="([\w-]+)"', found[0])
        if name:
            outside = rf'name="(\w+)" value="([^"]*)" form="{name[1]}"'
            hidden |= dict(re.findall(outside, self.page))
        hidden = {field: html.unescape(value) for field, value in hidden.items()}
        answer = await self.http.post(action, data={**hidden, **(filled or {})})
        assert answer.status_code == status, answer.text
        return answer


@asynccontextmanager
async def site_at(
    address: str,
    *registries: Registry,
    login: OidcLogin | None = None,
    projections: Sequence[Projection] = (),
) -> AsyncIterator[Site]:
    """An installation whose log, views and users are at the address."""
    views, keys, accounts = Views(address), ApiKeys(address), Accounts(address, cost=16)
    bulks = Bulks(address)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(views.aclose)
        stack.push_async_callback(keys.aclose)
        stack.push_async_callback(bulks.aclose)
        stack.push_async_callback(accounts.aclose)
        log = await stack.enter_async_context(open_or_create(address, 2))
        (registry,) = registries
        worker = await stack.enter_async_context(
            worker_on(log, registry, views=None, name="worker")
        )
        viewing = await stack.enter_async_context(viewing_on(log, address, projections))
        service = await stack.enter_async_context(Service(log, worker=worker, viewing=viewing))
        publisher = await stack.enter_async_context(Publisher(log))
        await keys.open()
        await accounts.open()
        await bulks.open()
        await service.ready()
        await registered(views, registry)
        services = await stack.enter_async_context(
            Services(
                log, publisher, views, bulks=bulks, views_at=address, keys=keys, accounts=accounts
            )
        )
        app = beside(
            create_api(services, keys), create_console(services, accounts, keys, login=login)
        )
        yield Site(log, publisher, views, bulks, accounts, keys, app)


@asynccontextmanager
async def served(site: Site) -> AsyncIterator[str]:
    """The site at an address of this machine, for a real browser."""
    async with listening(site.app, "127.0.0.1", 0) as address:
        yield address
