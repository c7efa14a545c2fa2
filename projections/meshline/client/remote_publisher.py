"""Publishing and asking over a server: as with the log at hand, and answered the same."""

from __future__ import annotations

import asyncio
import hashlib
import uuid
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Mapping
from datetime import datetime
from typing import Any
from urllib.parse import quote

import orjson
from pydantic_core import to_json

from meshline.client.connection import Answered, Connection, error_of
from meshline.events.envelope import Actor, Position
from meshline.events.errors import SettingsInvalid
from meshline.events.facts import FieldProblem
from meshline.events.people_requests import (
    AbsenceChangeRequested,
    HandoverRequested,
    TaskActionRequested,
    TaskCompletionRequested,
)
from meshline.events.publish import Answer, Publisher, RequestAnswer, Trigger
from meshline.events.requests import (
    ActivityReported,
    ApprovalSubmitted,
    CancelRequested,
    CauseActionRequested,
    ExceptionActionRequested,
    MessageReceived,
    NoteRequested,
    OwnerChangeRequested,
    PauseRequested,
    Request,
    ResumeRequested,
    RetryRequested,
    StepReported,
)

__all__ = ["RemotePublisher"]

WINDOW_MAX = 64
"""Triggers under way at one time."""

WAIT_S_MAX = 30.0

_PATHS: Mapping[type[Request], str] = {
    CancelRequested: "/v1/runs/{run}/cancel",
    PauseRequested: "/v1/runs/{run}/pause",
    ResumeRequested: "/v1/runs/{run}/resume",
    RetryRequested: "/v1/runs/{run}/retry",
    NoteRequested: "/v1/runs/{run}/notes",
    OwnerChangeRequested: "/v1/runs/{run}/owner",
    HandoverRequested: "/v1/runs/{run}/handover",
    MessageReceived: "/v1/runs/{run}/messages",
    ActivityReported: "/v1/runs/{run}/activities",
    StepReported: "/v1/runs/{run}/steps/{step}/outcome",
    ApprovalSubmitted: "/v1/runs/{run}/approvals/{approval}",
    TaskCompletionRequested: "/v1/runs/{run}/tasks/{task}",
    TaskActionRequested: "/v1/runs/{run}/tasks/{task}/actions",
    ExceptionActionRequested: "/v1/exceptions/{exception_id}/actions",
}


class RemotePublisher(Publisher):
    """Who asks is whose key the connection has: an actor that is named here does not count."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def aclose(self) -> None:
        """The connection is closed by who opened it."""

    async def publish(
        self,
        source: str,
        payload: Any,
        *,
        trigger_id: str,
        trigger_type: str = "",
        time: datetime | None = None,
        correlation_id: str | None = None,
        traceparent: str | None = None,
        actor: Actor | None = None,
        wait_s: float | None = None,
    ) -> Answer:
        return await self.publish_raw(
            source, to_json(payload, inf_nan_mode="constants"), trigger_id=trigger_id,
            trigger_type=trigger_type, time=time, traceparent=traceparent, wait_s=wait_s,
        )  # fmt: skip

    async def publish_raw(
        self,
        source: str,
        raw: bytes,
        *,
        trigger_id: str,
        trigger_type: str = "",
        time: datetime | None = None,
        correlation_id: str | None = None,
        traceparent: str | None = None,
        actor: Actor | None = None,
        wait_s: float | None = None,
    ) -> Answer:
        # What has no id is kept for a person to see, under one that is the same for the same bytes.
        identity = trigger_id or f"unreadable-{hashlib.sha256(raw).hexdigest()[:16]}"
        answered = await self._connection.post(
            "/v1/triggers", raw, headers={"traceparent": traceparent} if traceparent else None,
            source=source, id=identity, type=trigger_type or None,
            time=None if time is None else time.isoformat(), wait_s=_waited(wait_s),
        )  # fmt: skip
        body = answered.body
        if answered.status == 202:
            return Answer(
                body["status"], body["source"], body["trigger_id"], body["run_id"],
                _position(body["position"]),
            )  # fmt: skip
        if "run_id" not in body:
            raise error_of(body)
        problems = tuple(
            FieldProblem(pointer=each.get("pointer", ""), message=each["message"])
            for each in body.get("errors", ())
        )
        at = _position(body["position"])
        return Answer(
            "rejected", source, identity, body["run_id"], at, body["code"], body["detail"],
            problems, at,
        )  # fmt: skip

    async def publish_many(
        self,
        triggers: Iterable[Trigger] | AsyncIterable[Trigger],
        *,
        wait_s: float | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> AsyncIterator[Answer]:
        window: deque[asyncio.Task[Answer]] = deque()
        answered = 0
        try:
            async for trigger in _each(triggers):
                window.append(asyncio.create_task(self._one(trigger, wait_s)))
                while len(window) >= WINDOW_MAX:
                    yield await window.popleft()
                    answered += 1
                    if progress is not None:
                        progress(answered)
            while window:
                yield await window.popleft()
                answered += 1
                if progress is not None:
                    progress(answered)
        finally:
            for task in window:
                task.cancel()

    async def _one(self, trigger: Trigger, wait_s: float | None) -> Answer:
        return await self.publish(
            trigger.source, trigger.payload, trigger_id=trigger.trigger_id,
            trigger_type=trigger.trigger_type, time=trigger.time,
            traceparent=trigger.traceparent, wait_s=wait_s,
        )  # fmt: skip

    async def request(
        self,
        run_id: str,
        data: Request,
        *,
        actor: Actor | None = None,
        partition: int | None = None,
        event_id: str | None = None,
        time: datetime | None = None,
        correlation_id: str | None = None,
        traceparent: str | None = None,
        wait_s: float | None = None,
        if_match: str | None = None,
    ) -> RequestAnswer:
        """See ``Publisher.request``.

        Args:
            event_id: is the Idempotency-Key; a new one where it is not given.
            if_match: the tag of what was seen.
        Raises:
            ServerRefused: the key may not, or ``if_match`` is no longer so. Nothing was done.
        """
        path = _PATHS.get(type(data))
        if path is None:
            raise SettingsInvalid(
                f"{type(data).__name__} is not asked over a server: expected one of "
                f"{', '.join(kind.__name__ for kind in _PATHS)}. Type it where the log is."
            )
        fields: dict[str, Any] = data.model_dump(mode="json", exclude_none=True)
        named = {name: quote(str(value), safe="") for name, value in fields.items()}
        path = path.format(run=quote(run_id, safe=""), **named)
        in_path = {name for name in ("step", "approval", "task", "exception_id") if name in fields}
        body = {name: value for name, value in fields.items() if name not in in_path}
        if time is not None:
            body["time"] = time.isoformat()
        headers = {"Idempotency-Key": event_id or uuid.uuid4().hex}
        if if_match is not None:
            headers["If-Match"] = if_match
        answered = await self._connection.post(
            path, orjson.dumps(body), headers=headers, wait_s=_waited(wait_s)
        )
        return _request_answer(run_id, answered)

    async def request_everywhere(
        self,
        subject: str,
        data: Request,
        *,
        actor: Actor | None = None,
        partitions: Iterable[int] | None = None,
        wait_s: float | None = None,
    ) -> list[RequestAnswer]:
        """See ``Publisher.request_everywhere``.

        Raises:
            ServerRefused: the key may not. Nothing was done.
        """
        body = data.model_dump(mode="json", exclude_none=True)
        if partitions is not None or not isinstance(
            data, AbsenceChangeRequested | CauseActionRequested
        ):
            raise SettingsInvalid(
                f"{type(data).__name__} is not asked of every partition over a server: expected "
                "AbsenceChangeRequested or CauseActionRequested. Type it where the log is."
            )
        if isinstance(data, CauseActionRequested):
            path = f"/v1/exception-groups/{quote(body.pop('cause'), safe='')}/actions"
        elif data.substitute is None:
            path = "/v1/absences/end"
            body = {"user": data.user, "reason": data.reason}
        else:
            path = "/v1/absences"
        answered = await self._connection.post(path, orjson.dumps(body), wait_s=_waited(wait_s))
        if answered.status != 202:
            return [_request_answer(subject, answered)]
        return [_of_a_partition(subject, each) for each in answered.body["items"]]


def _of_a_partition(subject: str, said: dict[str, Any]) -> RequestAnswer:
    at = _position(said["position"])
    decided = None if said["status"] == "appended" else at
    return RequestAnswer(said["status"], subject, at, said["code"], said["reason"], decided)


def _request_answer(run_id: str, answered: Answered) -> RequestAnswer:
    body = answered.body
    if answered.status == 202:
        at = _position(body["position"])
        decided = None if body["status"] == "appended" else at
        return RequestAnswer(body["status"], body["run_id"], at, decided_at=decided)
    if answered.status != 409:
        raise error_of(body)
    at = _position(body["position"])
    return RequestAnswer("rejected", run_id, at, body["code"], body["detail"], at)


def _waited(wait_s: float | None) -> float:
    return 0 if wait_s is None else min(wait_s, WAIT_S_MAX)


def _position(text: str) -> Position:
    partition, _, offset = text.partition(":")
    return Position(int(partition), int(offset))


async def _each(triggers: Iterable[Trigger] | AsyncIterable[Trigger]) -> AsyncIterator[Trigger]:
    if isinstance(triggers, AsyncIterable):
        async for trigger in triggers:
            yield trigger
    else:
        for trigger in triggers:
            yield trigger
