"""Wrong passwords, counted where every server sees them, so that nobody can try them all."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

from meshline.api.problems import TooMany
from meshline.events.clock import Clock

__all__ = ["FORGOTTEN_AFTER", "NAMES_MAX", "TABLE", "WRONG_MAX", "WrongPasswords"]

WRONG_MAX = 10
"""Wrong passwords for one name, within ``FORGOTTEN_AFTER``; more are not even looked at."""

FORGOTTEN_AFTER = timedelta(minutes=15)
NAMES_MAX = 1_000
"""Names that are remembered. Other names, however many are tried, push none out that is nearly
closed."""

# By hash: people type their password where the name goes, and names that nobody has are kept too.
TABLE = """
create table if not exists {schema}.wrong_passwords (
    name_hash bytea primary key,
    tried_at timestamptz[] not null,
    last_at timestamptz not null
);
"""
_TAKE = """
insert into {schema}.wrong_passwords as kept (name_hash, tried_at, last_at)
values ($1, array[$2::timestamptz], $2)
on conflict (name_hash) do update set last_at = $2, tried_at =
    array(select each from unnest(kept.tried_at) as each where each > $3) || $2::timestamptz
where (select count(*) from unnest(kept.tried_at) as each where each > $3) < $4
returning cardinality(tried_at) as tries
"""
_SWEEP = """
delete from {schema}.wrong_passwords where name_hash in (
    select name_hash from {schema}.wrong_passwords
    where name_hash not in (
        select name_hash from {schema}.wrong_passwords where last_at > $1
        order by cardinality(tried_at) desc, last_at desc limit $2
    )
    for update skip locked
)
"""


class WrongPasswords:
    """Args:
    fetch: runs a statement; see ``Accounts.fetch``.
    """

    def __init__(self, fetch: Callable[..., Awaitable[list[dict[str, Any]]]], clock: Clock) -> None:
        self._fetch = fetch
        self._clock = clock

    async def take(self, name: str) -> None:
        """Count one for the name before it is looked at: it is wrong until ``forget`` says else.

        Many that come at once are no more than one by one, whichever servers they come to.

        Raises:
            TooMany: there were enough.
        """
        now = self._clock.now()
        start = now - FORGOTTEN_AFTER
        found = await self._fetch(_TAKE, _hash(name), now, start, WRONG_MAX)
        if not found:
            wait_s = FORGOTTEN_AFTER.total_seconds()
            raise TooMany(
                "Too many wrong passwords for this name: expected the right one sooner. Nothing "
                f"was looked at; try again in {wait_s / 60:g} minutes.",
                wait_s,
            )
        if found[0]["tries"] == 1:
            await self._fetch(_SWEEP, start, NAMES_MAX)

    async def forget(self, name: str) -> None:
        """Count nothing for the name: the password was right."""
        await self._fetch("delete from {schema}.wrong_passwords where name_hash = $1", _hash(name))


def _hash(name: str) -> bytes:
    return hashlib.sha256(name.encode()).digest()
