"""API keys: made once, shown once, and kept as a hash beside the views."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import re
import secrets
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from meshline.api.principals import ROLES, Principal, permissions_of
from meshline.events.clock import Clock, SystemClock
from meshline.events.envelope import Actor
from meshline.events.errors import SettingsInvalid
from meshline.projections.admitted import Key
from meshline.projections.errors import NotFound
from meshline.projections.postgres_connection import Pool, parse_address
from meshline.projections.scope import Scope

__all__ = ["ApiKeys", "check_actor", "check_roles", "new_key_id", "scope_of"]

KNOWN_FOR_S = 2.0
"""How long a key that was looked up is taken as known: so soon a revocation counts."""

USED_EVERY = timedelta(minutes=1)
"""A key that is used all the time is noted so often."""

KNOWN_MAX = 10_000
_FORM = re.compile(r"mlk_([0-9a-f]{12})_([0-9A-Za-z_-]{43})")
_ACTOR = re.compile(r"(user|service):[^\s:]\S{0,199}")

_TABLE = """
create schema if not exists {schema};
create table if not exists {schema}.keys (
    id text primary key,
    secret_hash bytea not null,
    actor text not null,
    roles text[] not null,
    sources text[],
    workflows text[],
    queues text[],
    made_at timestamptz not null,
    made_by text not null,
    expires_at timestamptz,
    revoked_at timestamptz,
    revoked_by text,
    revoked_for text,
    used_at timestamptz
);
alter table {schema}.keys add column if not exists revoked_by text,
    add column if not exists revoked_for text, add column if not exists used_at timestamptz;
"""


class ApiKeys:
    """The keys of an installation; an ``Authenticator``.

    Args:
        address: of the views: the keys are in a schema beside theirs.
    """

    def __init__(self, address: str, *, clock: Clock | None = None) -> None:
        parsed = parse_address(address)
        self._schema = f"{parsed.namespace}_access"
        self._pool = Pool(parsed, connections_max=2)
        self._clock = clock or SystemClock()
        self._known: dict[str, tuple[float, Principal | None]] = {}

    async def open(self) -> None:
        """Make the table if it is not there."""
        await self._pool.run_script(_TABLE.format(schema=self._schema))

    async def aclose(self) -> None:
        await self._pool.aclose()

    async def create(
        self,
        actor: str,
        roles: Sequence[str],
        *,
        made_by: str,
        sources: Sequence[str] | None = None,
        workflows: Sequence[str] | None = None,
        queues: Sequence[str] | None = None,
        expires_at: datetime | None = None,
        key_id: str | None = None,
    ) -> tuple[Key, str]:
        """Return a new key and its secret text, which nobody can tell again.

        Args:
            key_id: of ``new_key_id``; None: made here.
            actor: ``user:ada`` or ``service:crm``: stands on every event that it leads to.
            queues: owners and exception routes: ``team:emea``, ``queue:triage``.
        Raises:
            SettingsInvalid: there is no such role, or the actor is nobody who can ask.
        """
        check_actor(actor)
        check_roles(roles)
        wanted = {
            "actor": actor, "roles": roles, "sources": sources, "workflows": workflows,
            "queues": queues, "made_at": self._clock.now(), "made_by": made_by,
            "expires_at": expires_at, **_UNUSED,
        }  # fmt: skip
        return await self._made(wanted, key_id)

    async def rotate(
        self, key_id: str, *, made_by: str, overlap_s: float, new_id: str | None = None
    ) -> tuple[Key, str]:
        """Return a new key that may do what the old one may, and its secret text.

        Args:
            new_id: of ``new_key_id``; None: made here.
            overlap_s: so long the old one counts too, for those who still have it.
        Raises:
            NotFound: there is no such key, or it counts no more.
        """
        now = self._clock.now()
        found = await self._pool.fetch(
            f"update {self._schema}.keys set expires_at = least(expires_at, $2) where id = $1 "
            "and revoked_at is null and coalesce(expires_at, $3) >= $3 returning *",
            key_id,
            now + timedelta(seconds=overlap_s),
            now,
        )
        if not found:
            raise NotFound(
                f"There is no key {key_id!r} that counts: `meshline key list` shows them."
            )
        self._known.clear()
        same = {**found[0], "made_at": now, "made_by": made_by, "expires_at": None}
        same |= _UNUSED
        return await self._made(same, new_id)

    async def _made(self, wanted: Mapping[str, Any], key_id: str | None) -> tuple[Key, str]:
        key_id, secret = key_id or new_key_id(), secrets.token_urlsafe(32)
        columns = [name for name in Key._fields if name != "id"]
        places = ", ".join(f"${n}" for n in range(3, len(columns) + 3))
        found = await self._pool.fetch(
            f"insert into {self._schema}.keys (id, secret_hash, {', '.join(columns)}) "
            f"values ($1, $2, {places}) returning *",
            key_id,
            _hash(secret),
            *(_listed(wanted[name]) for name in columns),
        )
        return _key(found[0]), f"mlk_{key_id}_{secret}"

    async def all(self) -> list[Key]:
        """Return every key that there ever was, the newest first."""
        found = await self._pool.fetch(f"select * from {self._schema}.keys order by made_at desc")
        return [_key(record) for record in found]

    async def one(self, key_id: str) -> Key:
        """Return a key, whether it counts or not.

        Raises:
            NotFound: there is none.
        """
        found = await self._pool.fetch(f"select * from {self._schema}.keys where id = $1", key_id)
        if not found:
            raise NotFound(f"There is no key {key_id[:60]!r}: `meshline key list` shows them.")
        return _key(found[0])

    async def revoke(self, key_id: str, *, by: str, reason: str = "") -> Key:
        """Let the key count no more; other servers follow within ``KNOWN_FOR_S``.

        Whoever revoked it first, and why, is what is kept.

        Raises:
            NotFound: there is no such key.
        """
        await self._pool.fetch(
            f"update {self._schema}.keys set revoked_at = $2, revoked_by = $3, revoked_for = $4 "
            "where id = $1 and revoked_at is null",
            key_id,
            self._clock.now(),
            by,
            reason,
        )
        revoked = await self.one(key_id)
        self._known.clear()
        return revoked

    async def principal(self, credential: str | None) -> Principal | None:
        """Return whose key it is; None for one that is unknown, expired or revoked."""
        form = _FORM.fullmatch(credential or "")
        if credential is None or form is None:
            return None
        now_s = asyncio.get_running_loop().time()
        # By hash: what is remembered here is no key that somebody could use.
        name = hashlib.sha256(credential.encode()).hexdigest()
        known = self._known.get(name)
        if known is not None and known[0] > now_s:
            return known[1]
        found = await self._look_up(form[1], form[2])
        if len(self._known) >= KNOWN_MAX:
            self._known.clear()
        self._known[name] = (now_s + KNOWN_FOR_S, found)
        return found

    async def _note_use(self, key: Key) -> None:
        now = self._clock.now()
        if key.used_at is None or now - key.used_at > USED_EVERY:
            await self._pool.fetch(
                f"update {self._schema}.keys set used_at = $2 where id = $1", key.id, now
            )

    async def _look_up(self, key_id: str, secret: str) -> Principal | None:
        records = await self._pool.fetch(f"select * from {self._schema}.keys where id = $1", key_id)
        if not records or not hmac.compare_digest(records[0]["secret_hash"], _hash(secret)):
            return None
        key = _key(records[0])
        is_over = key.expires_at is not None and key.expires_at <= self._clock.now()
        if is_over or key.revoked_at is not None:
            return None
        await self._note_use(key)
        return Principal(
            Actor(key.actor.partition(":")[0], key.actor),
            permissions_of(key.roles),
            sources=_set(key.sources),
            scope=scope_of(key.workflows, key.queues),
            credential=f"key {key.id}",
        )


_UNUSED = {"revoked_at": None, "revoked_by": None, "revoked_for": None, "used_at": None}


def new_key_id() -> str:
    return secrets.token_hex(6)


def check_actor(actor: str) -> None:
    """Raise ``SettingsInvalid`` where this is nobody who can have a key."""
    if not _ACTOR.fullmatch(actor) or not actor.isprintable():
        raise SettingsInvalid(
            f"{actor[:100]!r} is nobody who can have a key: expected user:NAME or service:NAME."
        )


def check_roles(roles: Sequence[str]) -> None:
    """Raise ``SettingsInvalid`` unless these are roles that there are, and at least one."""
    if not roles or any(role not in ROLES for role in roles):
        raise SettingsInvalid(
            f"The roles are {', '.join(roles)[:200] or 'none'}: expected some of "
            f"{', '.join(ROLES)}."
        )


def scope_of(workflows: Sequence[str] | None, queues: Sequence[str] | None) -> Scope | None:
    """Return the scope of these; None where neither narrows anything."""
    if workflows is None and queues is None:
        return None
    return Scope(_set(workflows), _set(queues))


def _set(names: Sequence[str] | None) -> frozenset[str] | None:
    return None if names is None else frozenset(names)


def _listed(value: Any) -> Any:
    return [*value] if isinstance(value, tuple | frozenset) else value


def _hash(secret: str) -> bytes:
    # 256 random bits: there is nothing to guess that a slow hash would make harder.
    return hashlib.sha256(secret.encode()).digest()


def _key(record: dict[str, Any]) -> Key:
    return Key(**{field: record[field] for field in Key._fields})
