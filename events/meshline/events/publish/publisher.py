"""Publishing triggers and other requests, from asyncio."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from types import TracebackType
from typing import Any, Self, TypeVar
from urllib.parse import quote

from meshline.events.clock import Clock, SystemClock
from meshline.events.codec import encode, plain
from meshline.events.envelope import Actor, Event, Position, Recorded
from meshline.events.gate import Gate, check_identifier, check_time
from meshline.events.ids import new_event_id, partition_of
from meshline.events.log import Entry, EventLog, open_log
from meshline.events.publish.answer import (
    Answer,
    RequestAnswer,
    Trigger,
    answers_request,
    answers_trigger,
    request_answer,
    trigger_answer,
)
from meshline.events.publish.outbox import Outbox
from meshline.events.publish.outgoing import Outgoing
from meshline.events.publish.settings import PublisherSettings
from meshline.events.publish.tail import Tail
from meshline.events.publish.triggers import Received, receive
from meshline.events.requests import Request, TriggerReceived

__all__ = ["Publisher"]

T = TypeVar("T", Answer, RequestAnswer)


@dataclass(slots=True)
class _Sent:
    received: Received
    outgoing: Outgoing


class Publisher:
    """Appends requests, and waits for the keepers' answers where the caller wants them.

    Safe for many tasks of one event loop: what they publish at the same time goes out together.

    Args:
        log: an open log, which stays open; or an address, opened and closed by the publisher.
        gate: the limits of payloads.
        actor: who asks, where a call does not say.
        new_id: gives an id that nobody had before; a simulation hands in its own.
    """

    def __init__(
        self,
        log: EventLog | str,
        *,
        gate: Gate | None = None,
        actor: Actor | None = None,
        clock: Clock | None = None,
        settings: PublisherSettings | None = None,
        new_id: Callable[[], str] = new_event_id,
    ) -> None:
        self._owns_log = isinstance(log, str)
        self._log = open_log(log) if isinstance(log, str) else log
        self._gate = gate or Gate()
        self._actor = actor
        self._clock = clock or SystemClock()
        self._settings = settings or PublisherSettings()
        self._new_id = new_id
        self._tail = Tail(self._log, self._settings)
        self._outbox = Outbox(self._log, self._tail, self._settings)

    async def __aenter__(self) -> Self:
        if self._owns_log:
            await self._log.open()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Append what was published so far, and end; who waits for an answer has ``appended``."""
        try:
            await self._outbox.aclose()
            await self._tail.aclose()
        finally:
            if self._owns_log:
                await self._log.aclose()

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
        """Append a trigger, and return what became of it.

        What does not pass the gate is kept in the log, for a person to see and mend, and the
        answer is ``rejected``.

        Args:
            payload: what JSON can say: models, dataclasses, dates and enums too.
            trigger_id: the source's own id for it. The same one again is the same run.
            trigger_type: may be left away where the source starts only one workflow.
            time: when it happened, if that was not now.
            wait_s: how long to wait for the decision, from the append on; None: not at all.
        Raises:
            AppendRefused: the log won't take it. It was not appended.
            AppendUnknown: the log gave no answer before the deadline. It may be in the log:
                publish it again.
            LogUnavailable: the log could not be reached. It was not appended.
        """
        trigger = Trigger(
            source, payload, trigger_id, trigger_type, time, correlation_id, traceparent, actor
        )
        return await self._trigger(receive(trigger, self._gate), wait_s)

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
        """Append a trigger whose payload came from outside as JSON; see ``publish``."""
        trigger = Trigger(
            source, raw, trigger_id, trigger_type, time, correlation_id, traceparent, actor
        )
        return await self._trigger(receive(trigger, self._gate, raw=raw), wait_s)

    async def publish_many(
        self,
        triggers: Iterable[Trigger] | AsyncIterable[Trigger],
        *,
        wait_s: float | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> AsyncIterator[Answer]:
        """Append triggers, many at a time, and yield their answers in the same order.

        An error ends it; publishing all of them again is safe, since no trigger is two runs.

        Args:
            progress: called with the number of answers so far, after each.
        """
        window: deque[_Sent] = deque()
        answered = 0
        try:
            async for trigger in _each(triggers):
                window.append(await self._send(receive(trigger, self._gate), wait_s is not None))
                while len(window) >= self._settings.window_max:
                    yield await self._answered(window.popleft(), wait_s)
                    answered += 1
                    if progress is not None:
                        progress(answered)
            while window:
                yield await self._answered(window.popleft(), wait_s)
                answered += 1
                if progress is not None:
                    progress(answered)
        finally:
            for sent in window:
                self._tail.forget(sent.outgoing)

    async def request(
        self,
        run_id: str,
        data: Request,
        *,
        actor: Actor,
        partition: int | None = None,
        event_id: str | None = None,
        time: datetime | None = None,
        correlation_id: str | None = None,
        traceparent: str | None = None,
        wait_s: float | None = None,
    ) -> RequestAnswer:
        """Append a request about a run, and return what became of it.

        Args:
            run_id: with ``partition``, it may be any subject, or none.
            data: anything but a trigger: those are published.
            actor: who asks. Computed by the server that asks here, never taken from its client.
            partition: for what is asked about a record of this partition, whosever it is; None:
                the run's.
            event_id: the asker's own id for it, by which a report of an activity that comes again
                is known; None: a new one.
            wait_s: as in ``publish``.
        Raises:
            PayloadRefused: what is in the request does not pass the gate. It was not appended.
            AppendRefused, AppendUnknown, LogUnavailable: as in ``publish``.
        """
        assert not isinstance(data, TriggerReceived), "publish() triggers"
        if run_id or partition is None:
            check_identifier("run id", run_id)
        if event_id is not None:
            check_identifier("event id", event_id)
        if time is not None:
            time = check_time(time)
        checked = type(data).model_validate(self._gate.check(plain(data)))
        outgoing = self._outgoing(
            Received(checked, run_id, "meshline", time, correlation_id, traceparent, actor),
            wait_s is not None,
            event_id,
            partition,
        )
        await self._outbox.put(outgoing)
        position = await outgoing.appended
        appended = RequestAnswer("appended", run_id, position)
        fact = await self._decided(outgoing, wait_s)
        return appended if fact is None else request_answer(appended, fact)

    async def request_everywhere(
        self,
        subject: str,
        data: Request,
        *,
        actor: Actor,
        partitions: Iterable[int] | None = None,
        wait_s: float | None = None,
    ) -> list[RequestAnswer]:
        """Append what every partition must know for its own decisions; return each one's answer.

        Args:
            partitions: None: all of them.
        """
        if partitions is None:
            partitions = range(self._log.identity.partitions)
        # One time for all: by it they say which of two requests was the later one.
        now = self._clock.now()
        asked = (
            self.request(subject, data, actor=actor, partition=partition, time=now, wait_s=wait_s)
            for partition in partitions
        )
        return await asyncio.gather(*asked)

    async def _trigger(self, received: Received, wait_s: float | None) -> Answer:
        return await self._answered(await self._send(received, wait_s is not None), wait_s)

    async def _send(self, received: Received, waits: bool) -> _Sent:
        is_rejected = isinstance(received.data, TriggerReceived) and received.data.unreadable
        outgoing = self._outgoing(received, waits and not is_rejected)
        await self._outbox.put(outgoing)
        return _Sent(received, outgoing)

    async def _answered(self, sent: _Sent, wait_s: float | None) -> Answer:
        position: Position = await sent.outgoing.appended
        data = sent.received.data
        assert isinstance(data, TriggerReceived)
        known = (data.source, data.trigger_id, sent.received.run_id, position)
        if data.unreadable is not None:
            return Answer("rejected", *known, code="unreadable", reason=data.unreadable.detail)
        fact = await self._decided(sent.outgoing, wait_s)
        appended = Answer("appended", *known)
        return appended if fact is None else trigger_answer(appended, fact)

    async def _decided(self, outgoing: Outgoing, wait_s: float | None) -> Recorded[Any] | None:
        if outgoing.decided is None or wait_s is None:
            return None
        if outgoing.decided.done():
            return outgoing.decided.result()
        try:
            async with asyncio.timeout_at(outgoing.appended_at_s + wait_s):
                return await outgoing.decided
        except TimeoutError:
            return None
        finally:
            self._tail.forget(outgoing)

    def _outgoing(
        self,
        received: Received,
        waits: bool,
        event_id: str | None = None,
        partition: int | None = None,
    ) -> Outgoing:
        loop = asyncio.get_running_loop()
        now = self._clock.now()
        event = Event(
            id=event_id or self._new_id(),
            source=quote(received.source),
            subject=received.run_id,
            time=received.time or now,
            data=received.data,
            recorded_at=now,
            correlation_id=received.correlation_id,
            actor=received.actor or self._actor,
            traceparent=received.traceparent,
        )
        is_trigger = isinstance(received.data, TriggerReceived)
        if partition is None:
            partition = partition_of(received.run_id, self._log.identity.partitions)
        return Outgoing(
            partition=partition,
            event_id=event.id,
            entry=Entry(received.run_id, encode(event)),
            deadline_s=loop.time() + self._settings.append_deadline_s,
            appended=loop.create_future(),
            answers=answers_trigger if is_trigger else answers_request,
            decided=loop.create_future() if waits else None,
        )


async def _each(triggers: Iterable[Trigger] | AsyncIterable[Trigger]) -> AsyncIterator[Trigger]:
    if isinstance(triggers, AsyncIterable):
        async for trigger in triggers:
            yield trigger
        return
    for number, trigger in enumerate(triggers):
        yield trigger
        if number % 64 == 63:
            # Nothing here waits as long as there is room: let the batches go out meanwhile.
            await asyncio.sleep(0)
