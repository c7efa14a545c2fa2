"""Keys, users and sessions of a server: as ``Admissions``, asked over its API."""

from __future__ import annotations

from datetime import datetime
from typing import Any, TypeVar
from urllib.parse import quote

import orjson

from meshline.client.connection import Connection, error_of
from meshline.client.remote_views import row_of
from meshline.events.envelope import Actor
from meshline.projections.admitted import Granting, Key, Session, User

__all__ = ["RemoteAdmissions"]

R = TypeVar("R", bound=tuple[Any, ...])
PAGE_ROWS = 200


class RemoteAdmissions:
    """Who does it, is whose key the connection has; ``by`` is for where that is not so."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def keys(self) -> list[Key]:
        return await self._listed("/v1/keys", Key)

    async def create_key(
        self,
        actor: str,
        granting: Granting,
        *,
        by: Actor | None = None,
        expires_at: datetime | None = None,
        reason: str = "",
    ) -> tuple[Key, str]:
        body = {"actor": actor, **granting._asdict(), "expires_at": expires_at, "reason": reason}
        return _with_secret(Key, "key", await self._done("/v1/keys", body))

    async def rotate_key(
        self, key_id: str, *, by: Actor | None = None, overlap_s: float = 3_600.0, reason: str = ""
    ) -> tuple[Key, str]:
        body = {"overlap_s": overlap_s, "reason": reason}
        made = await self._done(f"/v1/keys/{quote(key_id, safe='')}/rotate", body)
        return _with_secret(Key, "key", made)

    async def revoke_key(self, key_id: str, *, by: Actor | None = None, reason: str = "") -> Key:
        path = f"/v1/keys/{quote(key_id, safe='')}/revoke"
        return row_of(Key, await self._done(path, {"reason": reason}))

    async def users(self) -> list[User]:
        return await self._listed("/v1/users", User)

    async def create_user(
        self, name: str, granting: Granting, *, by: Actor | None = None, reason: str = ""
    ) -> tuple[User, str]:
        body = {"name": name, **_of_people(granting), "reason": reason}
        return _with_secret(User, "password", await self._done("/v1/users", body))

    async def change_user(
        self, name: str, granting: Granting, *, by: Actor | None = None, reason: str = ""
    ) -> User:
        body = {**_of_people(granting), "reason": reason}
        return row_of(User, await self._done(f"/v1/users/{quote(name, safe='')}/change", body))

    async def change_password(self, name: str, *, by: Actor | None = None, reason: str = "") -> str:
        path = f"/v1/users/{quote(name, safe='')}/password"
        return str((await self._done(path, {"reason": reason}))["password"])

    async def change_own_password(self, old: str, new: str) -> str:
        """Give whose key this is another password, and return who that is."""
        done = await self._done("/v1/account/password", {"old": old, "new": new})
        return str(done["name"])

    async def remove_user(self, name: str, *, by: Actor | None = None, reason: str = "") -> User:
        path = f"/v1/users/{quote(name, safe='')}/remove"
        return row_of(User, await self._done(path, {"reason": reason}))

    async def sessions(self) -> list[Session]:
        return await self._listed("/v1/sessions", Session)

    async def end_sessions(self, actor: str, *, by: Actor | None = None, reason: str = "") -> int:
        done = await self._done("/v1/sessions/end", {"actor": actor, "reason": reason})
        return int(done["sessions"])

    async def _listed(self, path: str, row: type[R]) -> list[R]:
        rows: list[R] = []
        after: str | None = None
        while True:
            body = await self._connection.get(path, limit=PAGE_ROWS, after=after)
            rows += [row_of(row, fields) for fields in body["items"]]
            after = body["next"]
            if after is None:
                return rows

    async def _done(self, path: str, body: Any) -> Any:
        # Once: what makes a secret would make a second one that nobody sees.
        answer = await self._connection.post(path, orjson.dumps(body), once=True)
        if answer.status >= 400:
            raise error_of(answer.body)
        return answer.body


def _of_people(granting: Granting) -> dict[str, Any]:
    fields = granting._asdict()
    del fields["sources"]
    return fields


def _with_secret(row: type[R], name: str, body: dict[str, Any]) -> tuple[R, str]:
    secret = str(body.pop(name))
    return row_of(row, body), secret
