"""``meshline serve``: the HTTP API and the web console."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from meshline.cli.call import Call, command, group, seconds
from meshline.cli.errors import AddressInUse
from meshline.cli.loops import run_fast
from meshline.cli.processes import show_logs, stop_signal
from meshline.cli.webhook import webhooks_at

if TYPE_CHECKING:
    from meshline.api import Services
    from meshline.api.accounts import Accounts
    from meshline.api.keys import ApiKeys
    from meshline.api.oidc import OidcSettings
    from meshline.api.principals import Authenticator
    from meshline.console.oidc_login import OidcLogin

__all__ = ["app", "listening"]

app = group("The HTTP API and the web console.")

PORT = 8080
HEALTH_PORT = 8081
DAY_S = 86_400
END_S = 8
"""For requests under way at a stop."""

Port = Annotated[int, typer.Option(min=0, max=65535, help="0: a free one.")]


@command(app, data=False, runner=run_fast)
async def serve(
    call: Call,
    host: Annotated[
        str, typer.Option(metavar="ADDRESS", help="Where to listen: this machine only.")
    ] = "127.0.0.1",
    port: Port = PORT,
    host_name: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="A name under which clients reach it; may be repeated."),
    ] = None,
    origin: Annotated[
        list[str] | None,
        typer.Option(
            metavar="URL", help="https://…: pages of it may speak to this server too; repeatable."
        ),
    ] = None,
    health_port: Annotated[
        int, typer.Option(min=0, max=65535, help="For /livez and /readyz; 0: a free one.")
    ] = HEALTH_PORT,
    webhooks: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Else webhooks.toml in the folder of this Meshline."),
    ] = None,
    keep_readings: Annotated[
        str, typer.Option(metavar="TIME", help="So long it is kept who read payloads.")
    ] = "400d",
    oidc: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Take tokens of an identity provider too, and sign-ins if it says so.",
        ),
    ] = None,
) -> None:
    """Serve the web console, and the HTTP API for programs. The API's document is at /docs.

    People sign in: the first start makes the user `admin` and prints the password, once; more are
    made with `meshline user create`. Programs need a key (`meshline key create`). An address other
    than this machine's own needs a --host-name: by no other name is it spoken to. Put a proxy that
    ends TLS before it.
    Probes have a port of their own, without keys and names: /livez and /readyz.

    \b
    Examples:
      meshline key create service:crm --role source
      meshline serve
      curl -H "Authorization: Bearer $KEY" "localhost:8080/v1/runs?state=held"
      meshline serve --host 0.0.0.0 --host-name meshline.example.org
    """
    show_logs()
    readings_s = seconds(keep_readings, "--keep-readings")
    if readings_s < DAY_S:
        raise typer.BadParameter(
            f"{keep_readings!r} is too short for anybody to look: expected a day at least, as 400d",
            param_hint="--keep-readings",
        )
    if not _is_loopback(host) and not host_name:
        raise typer.BadParameter(
            f"{host!r} can be reached from elsewhere: expected --host-name too, which says by what "
            "name. Only requests to it are answered",
            param_hint="--host",
        )
    from meshline.api import ApiSettings, create_api, create_health
    from meshline.api.oidc import OidcSettings
    from meshline.console import beside, create_console

    settings = ApiSettings(
        hosts=ApiSettings().hosts | {name.lower() for name in host_name or ()},
        origins=frozenset(origin or ()),
    )
    hooks = webhooks_at(call, webhooks)
    hooks.all()
    provider = None if oidc is None else OidcSettings.read(oidc)
    with stop_signal() as stop:
        async with (
            _services(call, readings_s) as (
                services,
                keys,
                accounts,
            ),
            _known_by(keys, provider) as authenticator,
            _signing_in(provider) as login,
            listening(create_health(services), host, health_port, "--health-port") as health,
            listening(
                beside(
                    create_api(services, authenticator, settings, hooks),
                    create_console(services, accounts, keys, settings, login),
                ),
                host,
                port,
            ) as address,
        ):
            await _welcome_first(call, accounts)
            call.out.say(
                f"Ready: {address} is the console, {address}/docs the API, {health}/readyz tells "
                "whether it is well. Ctrl-C stops."
            )
            await stop.wait()
            services.changes.end()
            call.out.say("Stopping: requests under way are answered.")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@asynccontextmanager
async def _known_by(keys: ApiKeys, provider: OidcSettings | None) -> AsyncIterator[Authenticator]:
    """Who tells who it is: the keys, and the identity provider if there is one."""
    if provider is None:
        yield keys
        return
    from meshline.api.oidc import KeysAndTokens, OidcTokens

    tokens = OidcTokens(provider)
    try:
        yield KeysAndTokens(keys, tokens)
    finally:
        await tokens.aclose()


@asynccontextmanager
async def _signing_in(provider: OidcSettings | None) -> AsyncIterator[OidcLogin | None]:
    """How people sign in to the console with the provider; None: with passwords alone."""
    if provider is None or provider.console is None:
        yield None
        return
    from meshline.console.oidc_login import OidcLogin

    login = OidcLogin(provider)
    try:
        yield login
    finally:
        await login.aclose()


@asynccontextmanager
async def _services(
    call: Call, readings_s: float
) -> AsyncIterator[tuple[Services, ApiKeys, Accounts]]:
    from meshline.api import Services
    from meshline.api.accounts import Accounts
    from meshline.api.keys import ApiKeys
    from meshline.events.publish import Publisher
    from meshline.projections.bulk import Bulks
    from meshline.projections.settings import ReadingSettings

    keys, accounts = ApiKeys(call.place.views), Accounts(call.place.views)
    bulks = Bulks(call.place.views)
    try:
        async with (
            call.log() as log,
            call.whole_views() as views,
            call.kept() as kept,
            Publisher(log) as publisher,
            Services(
                log,
                publisher,
                views,
                kept,
                bulks=bulks,
                views_at=call.place.views,
                keys=keys,
                accounts=accounts,
                readings=ReadingSettings(kept_days=readings_s / DAY_S),
            ) as services,
        ):
            await keys.open()
            await accounts.open()
            await bulks.open()
            yield services, keys, accounts
    finally:
        await bulks.aclose()
        await accounts.aclose()
        await keys.aclose()


async def _welcome_first(call: Call, accounts: Accounts) -> None:
    from meshline.api.accounts import FIRST_USER

    password = await accounts.create_first()
    if password is not None:
        call.out.say(
            f"Nobody could sign in to the console yet: there is a user {FIRST_USER} now, with the "
            f"password {password}",
            f"It is not shown again. For another: meshline user password {FIRST_USER}",
        )


@asynccontextmanager
async def listening(api: Any, host: str, port: int, option: str = "--port") -> AsyncIterator[str]:
    """Serve the ASGI application while the context is open; gives the address to type.

    Raises:
        AddressInUse: nothing can listen there.
    """
    import uvicorn

    class Server(uvicorn.Server):
        def capture_signals(self) -> Any:
            # The command has its own.
            return nullcontext()

    with _bound(host, port, option) as bound:
        config = uvicorn.Config(
            api, log_config=None, access_log=False, server_header=False, lifespan="off",
            timeout_graceful_shutdown=END_S,
        )  # fmt: skip
        server = Server(config)
        serving = asyncio.create_task(server.serve(sockets=[bound]))
        try:
            while not server.started and not serving.done():  # noqa: ASYNC110 - it tells nobody
                await asyncio.sleep(0.01)
            shown = f"[{host}]" if ":" in host else host
            yield f"http://{shown}:{bound.getsockname()[1]}"
        finally:
            server.should_exit = True
            await serving


def _bound(host: str, port: int, option: str) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=512)
    except OSError as error:
        raise AddressInUse(
            f"Nothing can listen at {host}:{port}: {error.strerror}. Expected a free port of this "
            f"machine: give another with {option}, or end what listens there."
        ) from error
