"""The bulk lists of a server: as ``Bulks``, asked over its API."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any
from urllib.parse import quote

import orjson

from meshline.client.connection import Connection, error_of
from meshline.client.remote_views import row_of
from meshline.projections.bulk import CONFIRMED_ABOVE
from meshline.projections.bulk_list import BulkAction, BulkItem, BulkList, Chosen, Effect
from meshline.projections.columns import to_json
from meshline.projections.errors import NotReady
from meshline.projections.pages import LIMIT_MAX, Page, next_after
from meshline.projections.queries import Views

__all__ = ["RemoteBulks"]

_PATH = "/v1/bulk-lists"
POLL_S = 0.2


class RemoteBulks:
    """Whose list it is, and who confirms it, is whose key the connection has."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def freeze(
        self,
        views: Views,
        action: BulkAction,
        chosen: Chosen,
        *,
        actor: str = "",
        reason: str,
        more: Mapping[str, Any] | None = None,
        confirmed_above: int = CONFIRMED_ABOVE,
    ) -> BulkList:
        """See ``Bulks.freeze``; the server looks into its own views, in the key's name."""
        body = {
            "action": action,
            "chosen": {
                name: to_json(value)
                for name in chosen.__slots__
                if (value := getattr(chosen, name)) is not None
            },
            "reason": reason,
            "second_person_above": min(confirmed_above, CONFIRMED_ABOVE),
            **(more or {}),
        }
        headers = {"Idempotency-Key": uuid.uuid4().hex}
        return _list(await self._post(_PATH, body, headers))

    async def one(self, name: str) -> BulkList:
        return _list(await self._shown(name))

    async def all(self, limit: int = 50, *, after: str | None = None) -> Page[BulkList]:
        rows: list[BulkList] = []
        while True:
            some = min(100, limit - len(rows))
            body = await self._connection.get(_PATH, limit=some, after=after)
            rows += map(_list, body["items"])
            after = body["next"]
            if after is None or len(rows) >= limit:
                return Page(rows, after)

    async def items(
        self,
        name: str,
        *,
        results: Sequence[str] | None = None,
        limit: int | None = None,
        after: int = 0,
    ) -> list[BulkItem]:
        items: list[BulkItem] = []
        following = next_after([after])
        while limit is None or len(items) < limit:
            some = LIMIT_MAX if limit is None else min(LIMIT_MAX, limit - len(items))
            body = await self._connection.get(
                f"{_path(name)}/items", result=results, limit=some, after=following
            )
            items += (BulkItem(**item) for item in body["items"])
            following = body["next"]
            if following is None:
                break
        return items

    async def counts(self, name: str) -> dict[str, int]:
        counts: dict[str, int] = (await self._shown(name))["counts"]
        return counts

    async def effect(self, name: str) -> Effect:
        shown = await self._shown(name)
        return Effect(shown["runs"], shown["by_step"])

    async def confirm(self, name: str, *, actor: str = "") -> BulkList:
        """See ``Bulks.confirm``; who agrees is whose key it is."""
        return _list(await self._post(f"{_path(name)}/confirm", {}))

    async def apply(self, name: str) -> AsyncGenerator[BulkItem]:
        """Let the server apply the list, and give each item as soon as it has its result.

        Raises:
            NotReady: it can't be applied, or was not to its end: begin it again.
        """
        waited = {i.number for i in await self.items(name, results=["left", "unanswered"])}
        await self._post(f"{_path(name)}/apply", {})
        last = 0
        while True:
            shown = await self._shown(name)
            is_going_on = shown["is_being_applied"]
            has_come = True
            while has_come and (items := await self.items(name, limit=LIMIT_MAX, after=last)):
                for item in items:
                    has_come = item.number not in waited or (
                        item.result not in (None, "unanswered") or not is_going_on
                    )
                    if not has_come:
                        break
                    last = item.number
                    if item.number in waited and item.result is not None:
                        yield item
            if not is_going_on:
                break
            await asyncio.sleep(POLL_S)
        if shown["problem"]:
            raise NotReady(f"It was not applied to its end: {shown['problem']}")

    async def _shown(self, name: str) -> Any:
        return await self._connection.get(_path(name))

    async def _post(self, path: str, body: Any, headers: Mapping[str, str] | None = None) -> Any:
        answered = await self._connection.post(path, orjson.dumps(body), headers=headers)
        if answered.status >= 400:
            raise error_of(answered.body)
        return answered.body


def _path(name: str) -> str:
    return f"{_PATH}/{quote(name, safe='')}"


def _list(shown: Mapping[str, Any]) -> BulkList:
    fields = {name: shown[name] for name in BulkList._fields if name != "scope"}
    return row_of(BulkList, fields | {"scope": None})
