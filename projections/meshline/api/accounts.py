"""The people who sign in here: names, passwords (kept as scrypt hashes), roles, sessions."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import re
import secrets
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from meshline.api.keys import check_roles, scope_of
from meshline.api.oidc import Granted
from meshline.api.principals import Principal, permissions_of
from meshline.api.wrong_passwords import TABLE, WrongPasswords
from meshline.events.clock import Clock, SystemClock
from meshline.events.envelope import Actor
from meshline.events.errors import SettingsInvalid
from meshline.projections.admitted import Session, User
from meshline.projections.errors import NotFound
from meshline.projections.postgres_connection import Pool, parse_address

__all__ = [
    "FIRST_USER",
    "IDLE_MAX",
    "LASTS_MAX",
    "PASSWORD_LENGTH_MAX",
    "PASSWORD_LENGTH_MIN",
    "Accounts",
    "check_password",
    "check_user",
]

FIRST_USER = "admin"
PASSWORD_LENGTH_MIN, PASSWORD_LENGTH_MAX = 12, 200
IDLE_MAX = timedelta(hours=2)
"""A session that nobody used for so long is over."""

LASTS_MAX = timedelta(hours=12)
"""However much it is used, a session is over after this."""

_SEEN_EVERY = timedelta(minutes=1)
_NAME = re.compile(r"[a-z0-9][a-z0-9._@-]{0,99}")
COST = 2**14
"""scrypt's n, beside r=8 and p=5: a check takes 16 MB and a tenth of a second of a core."""

_MEMORY_MAX = 64 * 1024 * 1024

_WHOSE = (
    "coalesce(s.actor, 'user:' || u.name) as actor, coalesce(s.roles, u.roles) as roles, "
    "coalesce(s.workflows, u.workflows) as workflows, coalesce(s.queues, u.queues) as queues"
)
_TABLES = """
create schema if not exists {schema};
create table if not exists {schema}.users (
    name text primary key,
    password text not null,
    roles text[] not null,
    workflows text[],
    queues text[],
    made_at timestamptz not null,
    made_by text not null
);
alter table {schema}.users add column if not exists workflows text[],
    add column if not exists queues text[];
create table if not exists {schema}.sessions (
    token_hash bytea primary key,
    name text references {schema}.users on delete cascade,
    actor text,
    roles text[],
    workflows text[],
    queues text[],
    begun_at timestamptz not null,
    seen_at timestamptz not null
);
create table if not exists {schema}.saved_lists (
    actor text not null,
    page text not null,
    name text not null,
    query text not null,
    primary key (actor, page, name)
);
alter table {schema}.sessions alter column name drop not null,
    add column if not exists actor text, add column if not exists roles text[],
    add column if not exists workflows text[], add column if not exists queues text[];
"""


class Accounts:
    """The users of an installation and their sessions, beside the keys of its API.

    Args:
        address: of the views.
        cost: of the hashes of new passwords; see ``COST``.
    """

    def __init__(self, address: str, *, clock: Clock | None = None, cost: int = COST) -> None:
        parsed = parse_address(address)
        self._schema = f"{parsed.namespace}_access"
        self._pool = Pool(parsed, connections_max=2)
        self._clock = clock or SystemClock()
        self._cost = cost
        # For a name that nobody has: its answer takes as long as that for a wrong password.
        self._nobodys = f"scrypt${cost}$8$5${'00' * 16}${'00' * 32}"
        self._checking = asyncio.Semaphore(2)
        self._wrong = WrongPasswords(self.fetch, self._clock)

    async def open(self) -> None:
        """Make the tables if they are not there."""
        await self._pool.run_script((_TABLES + TABLE).format(schema=self._schema))

    async def aclose(self) -> None:
        await self._pool.aclose()

    # -- users ---------------------------------------------------------------------------------

    async def create(
        self,
        name: str,
        roles: Sequence[str],
        *,
        made_by: str,
        password: str | None = None,
        workflows: Sequence[str] | None = None,
        queues: Sequence[str] | None = None,
    ) -> tuple[User, str]:
        """Return a new user and the password, which nobody can tell again.

        Args:
            workflows, queues: the only ones that they see; None: all.
            password: None: a random one.
        Raises:
            SettingsInvalid: name, roles or password can't be these, or the name is taken.
        """
        check_user(name, roles)
        password = _chosen(password)
        found = await self.fetch(
            "insert into {schema}.users (name, password, roles, workflows, queues, made_at, "
            "made_by) values ($1, $2, $3, $4, $5, $6, $7) on conflict do nothing returning *",
            name, await self._hashed(password), [*roles], workflows, queues, self._clock.now(),
            made_by,
        )  # fmt: skip
        if not found:
            raise SettingsInvalid(
                f"There is a user {name!r} already: expected another name, or "
                f"`meshline user password {name}` for a new password."
            )
        return _user(found[0]), password

    async def create_first(self) -> str | None:
        """Make the first user if there is none, and return the password; None if there is one."""
        if await self.fetch("select 1 from {schema}.users limit 1"):
            return None
        try:
            _, password = await self.create(FIRST_USER, ["admin"], made_by="system:first-start")
        except SettingsInvalid:
            # Another server that started with this one was quicker.
            return None
        return password

    async def all(self) -> list[User]:
        """Return all users, by name."""
        return [_user(r) for r in await self.fetch("select * from {schema}.users order by name")]

    async def one(self, name: str) -> User:
        """Return a user.

        Raises:
            NotFound: there is no such user.
        """
        found = await self.fetch("select * from {schema}.users where name = $1", name)
        if not found:
            raise _no_user(name)
        return _user(found[0])

    async def change(
        self,
        name: str,
        roles: Sequence[str],
        *,
        workflows: Sequence[str] | None = None,
        queues: Sequence[str] | None = None,
    ) -> User:
        """Give a user other roles and another scope; what they have open now follows at once.

        Raises:
            NotFound: there is no such user.
            SettingsInvalid: there is no such role.
        """
        check_roles(roles)
        found = await self.fetch(
            "update {schema}.users set roles = $2, workflows = $3, queues = $4 where name = $1 "
            "returning *",
            name, [*roles], workflows, queues,
        )  # fmt: skip
        if not found:
            raise _no_user(name)
        return _user(found[0])

    async def set_password(self, name: str, password: str | None = None) -> str:
        """Return the new password; who is signed in with the old one is no longer.

        Raises:
            NotFound: there is no such user.
            SettingsInvalid: the password is too short.
        """
        password = _chosen(password)
        found = await self.fetch(
            "update {schema}.users set password = $2 where name = $1 returning name",
            name, await self._hashed(password),
        )  # fmt: skip
        if not found:
            raise _no_user(name)
        await self.fetch("delete from {schema}.sessions where name = $1", name)
        return password

    async def replace_password(
        self, name: str, was: str, password: str, *, session: str | None = None
    ) -> bool:
        """Return whether the user has this password now: not where another came between.

        Args:
            was: what ``proven`` said of the old one.
            session: the secret of one that goes on; None: all of theirs end.
        Raises:
            SettingsInvalid: the password is too short.
        """
        check_password(password)
        found = await self.fetch(
            "update {schema}.users set password = $3 where name = $1 and password = $2 "
            "returning name",
            name, was, await self._hashed(password),
        )  # fmt: skip
        if found:
            await self.fetch(
                "delete from {schema}.sessions where token_hash <> $2 "
                "and coalesce(actor, 'user:' || name) = 'user:' || $1",
                name, _digest(session or ""),
            )  # fmt: skip
        return bool(found)

    async def remove(self, name: str) -> None:
        """Let a user sign in no more, and end their sessions.

        Raises:
            NotFound: there is no such user.
        """
        if not await self.fetch("delete from {schema}.users where name = $1 returning name", name):
            raise _no_user(name)

    # -- sessions ------------------------------------------------------------------------------

    async def sign_in(self, name: str, password: str) -> str | None:
        """Return the secret of a new session; None where name or password is wrong.

        Raises:
            TooMany: there were too many wrong ones for the name.
        """
        kept = await self.proven(name, password)
        if kept is None:
            return None
        token, now = await self._new_session()
        await self.fetch(
            "insert into {schema}.sessions (token_hash, name, begun_at, seen_at) "
            "select $1, name, $2, $2 from {schema}.users where name = $3 and password = $4",
            _digest(token), now, name, kept,
        )  # fmt: skip
        return token

    async def proven(self, name: str, password: str) -> str | None:
        """Return what is kept of the user's password if this is it; None where it is wrong.

        Raises:
            TooMany: there were too many wrong ones for the name.
        """
        await self._wrong.take(name)
        found = await self.fetch("select * from {schema}.users where name = $1", name)
        kept: str = found[0]["password"] if found else self._nobodys
        async with self._checking:
            is_right = await asyncio.to_thread(_matches, password, kept)
        if not found or not is_right:
            return None
        await self._wrong.forget(name)
        return kept

    async def begin(self, granted: Granted) -> str:
        """Return the secret of a new session of somebody whom a provider knows."""
        token, now = await self._new_session()
        await self.fetch(
            "insert into {schema}.sessions "
            "(token_hash, actor, roles, workflows, queues, begun_at, seen_at) "
            "values ($1, $2, $3, $4, $5, $6, $6)",
            _digest(token), granted.actor.id, granted.roles, granted.workflows, granted.queues, now,
        )  # fmt: skip
        return token

    async def _new_session(self) -> tuple[str, datetime]:
        """Return a secret for one; those that are over go."""
        now = self._clock.now()
        await self.fetch(
            "delete from {schema}.sessions where begun_at < $1 or seen_at < $2",
            now - LASTS_MAX, now - IDLE_MAX,
        )  # fmt: skip
        return secrets.token_urlsafe(32), now

    async def sessions(self) -> list[Session]:
        """Return every session that counts, those that were used last first."""
        now = self._clock.now()
        found = await self.fetch(
            f"select {_WHOSE}, s.actor is not null as with_provider, s.begun_at, s.seen_at "
            "from {schema}.sessions as s left join {schema}.users as u using (name) "
            "where s.begun_at >= $1 and s.seen_at >= $2 order by s.seen_at desc, token_hash",
            now - LASTS_MAX, now - IDLE_MAX,
        )  # fmt: skip
        return [Session(**row) for row in found]

    async def end_sessions(self, actor: str) -> int:
        """Sign somebody out wherever they are signed in, and return how often that was."""
        ended = await self.fetch(
            "delete from {schema}.sessions "
            "where actor = $1 or actor is null and 'user:' || name = $1 returning 1",
            actor,
        )
        return len(ended)

    async def principal(self, token: str | None, *, by_themselves: bool = True) -> Principal | None:
        """Return whose session it is; None for one that is unknown or over.

        Args:
            by_themselves: not a page that looks again by itself, which keeps no session open.
        """
        if not token:
            return None
        found = await self.fetch(
            f"select s.begun_at, s.seen_at, {_WHOSE} "
            "from {schema}.sessions as s left join {schema}.users as u using (name) "
            "where token_hash = $1",
            _digest(token),
        )
        now = self._clock.now()
        if not found:
            return None
        session = found[0]
        if now - session["begun_at"] > LASTS_MAX or now - session["seen_at"] > IDLE_MAX:
            await self.sign_out(token)
            return None
        if by_themselves and now - session["seen_at"] > _SEEN_EVERY:
            await self.fetch(
                "update {schema}.sessions set seen_at = $2 where token_hash = $1",
                _digest(token), now,
            )  # fmt: skip
        return Principal(
            Actor(session["actor"].partition(":")[0], session["actor"]),
            permissions_of(session["roles"]),
            scope=scope_of(session["workflows"], session["queues"]),
        )

    async def sign_out(self, token: str) -> None:
        """End a session."""
        await self.fetch("delete from {schema}.sessions where token_hash = $1", _digest(token))

    async def _hashed(self, password: str) -> str:
        async with self._checking:
            return await asyncio.to_thread(_hash, password, secrets.token_bytes(16), self._cost)

    async def fetch(self, sql: str, *arguments: Any) -> list[dict[str, Any]]:
        """Return the rows; ``{schema}`` in the statement stands for where all this is kept."""
        return await self._pool.fetch(sql.replace("{schema}", self._schema), *arguments)


def check_user(name: str, roles: Sequence[str]) -> None:
    """Raise ``SettingsInvalid`` unless a user can have this name and these roles."""
    if not _NAME.fullmatch(name):
        raise SettingsInvalid(
            f"{name[:100]!r} can't be a user's name: expected lower-case letters, digits and "
            "any of . _ @ -, such as ada or ada@example.org."
        )
    check_roles(roles)


def check_password(password: str) -> None:
    """Raise ``SettingsInvalid`` unless this can be somebody's password."""
    if not PASSWORD_LENGTH_MIN <= len(password) <= PASSWORD_LENGTH_MAX:
        raise SettingsInvalid(
            f"The password has {len(password)} characters: expected {PASSWORD_LENGTH_MIN} to "
            f"{PASSWORD_LENGTH_MAX}."
        )


def _chosen(password: str | None) -> str:
    if password is None:
        return secrets.token_urlsafe(15)
    check_password(password)
    return password


def _hash(password: str, salt: bytes, n: int, r: int = 8, p: int = 5) -> str:
    made = hashlib.scrypt(password.encode(), salt=salt, n=n, r=r, p=p, maxmem=_MEMORY_MAX, dklen=32)
    return f"scrypt${n}${r}${p}${salt.hex()}${made.hex()}"


def _matches(password: str, kept: str) -> bool:
    _, n, r, p, salt, _ = kept.split("$")
    made = _hash(password[:PASSWORD_LENGTH_MAX], bytes.fromhex(salt), int(n), int(r), int(p))
    return hmac.compare_digest(kept, made)


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()


def _user(record: dict[str, Any]) -> User:
    return User(**{field: record[field] for field in User._fields})


def _no_user(name: str) -> NotFound:
    return NotFound(f"There is no user {name[:100]!r}: `meshline user list` shows them.")
