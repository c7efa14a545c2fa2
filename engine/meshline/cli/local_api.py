"""API and console of ``meshline dev``: on this machine only; the folder remembers a key."""

from __future__ import annotations

import getpass
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from meshline.cli.serve import listening
from meshline.cli.webhook import FILE as WEBHOOKS

if TYPE_CHECKING:
    from meshline.api.keys import ApiKeys
    from meshline.events.log import EventLog

__all__ = ["KEY_FILE", "LocalApi", "api_of"]

KEY_FILE = "key"
LOOPBACK = "127.0.0.1"


class LocalApi(NamedTuple):
    """Where it is, and the file with a key that may do everything there.

    Args:
        password: of the user that was made for the console just now; None: there were some.
    """

    address: str
    key_file: Path
    password: str | None


@asynccontextmanager
async def api_of(log: EventLog, views: str, home: Path, port: int) -> AsyncIterator[LocalApi]:
    """Serve API and console over a log and views that this process has, while the context is open.

    Raises:
        AddressInUse: the port is taken.
    """
    from meshline.api import Services, create_api
    from meshline.api.accounts import Accounts
    from meshline.api.keys import ApiKeys
    from meshline.api.webhooks import Webhooks
    from meshline.console import beside, create_console
    from meshline.events.publish import Publisher
    from meshline.projections.bulk import Bulks
    from meshline.projections.postgres_snapshots import PostgresSnapshots
    from meshline.projections.queries import Views

    keys, seen, kept = ApiKeys(views), Views(views), PostgresSnapshots(views)
    accounts, bulks = Accounts(views), Bulks(views)
    try:
        await keys.open()
        await bulks.open()
        await accounts.open()
        password = await accounts.create_first()
        key_file = await _key_file(keys, home)
        async with (
            Publisher(log) as publisher,
            Services(
                log,
                publisher,
                seen,
                kept,
                bulks=bulks,
                views_at=views,
                keys=keys,
                accounts=accounts,
            ) as services,
            listening(
                beside(
                    create_api(services, keys, webhooks=Webhooks(home / WEBHOOKS)),
                    create_console(services, accounts, keys),
                ),
                LOOPBACK,
                port,
            ) as address,
        ):
            try:
                yield LocalApi(address, key_file, password)
            finally:
                services.changes.end()
    finally:
        await kept.aclose()
        await seen.aclose()
        await keys.aclose()
        await accounts.aclose()
        await bulks.aclose()


async def _key_file(keys: ApiKeys, home: Path) -> Path:
    """Return the file with the key; one that counts no more is replaced."""
    path = home / KEY_FILE
    known = path.read_text("utf-8").strip() if path.exists() else None
    if await keys.principal(known) is None:
        user = f"user:{getpass.getuser()}"
        _, secret = await keys.create(user, ["admin"], made_by=user)
        new = home / f"{KEY_FILE}.{os.getpid()}"
        new.touch(mode=0o600)
        new.write_text(f"{secret}\n", "utf-8")
        new.replace(path)
    return path
