"""Publishing from plain code: the same publisher, in a thread of its own."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Coroutine, Iterable, Iterator
from datetime import datetime
from itertools import islice
from types import TracebackType
from typing import Any, Self, TypeVar

from meshline.events.clock import Clock
from meshline.events.envelope import Actor
from meshline.events.errors import PublisherClosed
from meshline.events.gate import Gate
from meshline.events.publish.answer import Answer, RequestAnswer, Trigger
from meshline.events.publish.publisher import Publisher
from meshline.events.publish.settings import PublisherSettings
from meshline.events.requests import Request

__all__ = ["BlockingPublisher"]

R = TypeVar("R")


class BlockingPublisher:
    """A ``Publisher`` for code without asyncio; a context manager, safe for many threads.

    Make one per process: after a fork the child must make its own.
    """

    def __init__(
        self,
        address: str,
        *,
        gate: Gate | None = None,
        actor: Actor | None = None,
        clock: Clock | None = None,
        settings: PublisherSettings | None = None,
    ) -> None:
        self._address = address
        self._settings = settings or PublisherSettings()
        self._options: dict[str, Any] = {"gate": gate, "actor": actor, "clock": clock}
        self._publisher: Publisher | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._process_id = os.getpid()

    def __enter__(self) -> Self:
        assert self._loop is None, "a publisher is opened once"
        self._process_id = os.getpid()
        self._loop = asyncio.new_event_loop()
        # A daemon: a program that forgets to close the publisher can still end.
        self._thread = threading.Thread(
            target=self._loop.run_forever, name="meshline-publisher", daemon=True
        )
        self._thread.start()
        try:
            self._publisher = self._run(self._open())
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Append what was published so far, and end. Closing twice is closing once."""
        loop, self._loop = self._loop, None
        if loop is None or self._process_id != os.getpid():
            return
        publisher, thread = self._publisher, self._thread
        assert thread is not None
        try:
            if publisher is not None:
                asyncio.run_coroutine_threadsafe(publisher.aclose(), loop).result()
        finally:
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.close()

    def publish(
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
        """See ``Publisher.publish``."""
        return self._run(
            self._opened.publish(
                source,
                payload,
                trigger_id=trigger_id,
                trigger_type=trigger_type,
                time=time,
                correlation_id=correlation_id,
                traceparent=traceparent,
                actor=actor,
                wait_s=wait_s,
            )
        )

    def publish_raw(
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
        """See ``Publisher.publish_raw``."""
        return self._run(
            self._opened.publish_raw(
                source,
                raw,
                trigger_id=trigger_id,
                trigger_type=trigger_type,
                time=time,
                correlation_id=correlation_id,
                traceparent=traceparent,
                actor=actor,
                wait_s=wait_s,
            )
        )

    def publish_many(
        self,
        triggers: Iterable[Trigger],
        *,
        wait_s: float | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> Iterator[Answer]:
        """See ``Publisher.publish_many``. The triggers are drawn in the caller's thread."""
        answered = 0
        rest = iter(triggers)
        while some := list(islice(rest, self._settings.window_max)):
            for answer in self._run(self._answers(some, wait_s)):
                yield answer
                answered += 1
                if progress is not None:
                    progress(answered)

    def request(
        self,
        run_id: str,
        data: Request,
        *,
        actor: Actor,
        event_id: str | None = None,
        time: datetime | None = None,
        correlation_id: str | None = None,
        traceparent: str | None = None,
        wait_s: float | None = None,
    ) -> RequestAnswer:
        """See ``Publisher.request``."""
        return self._run(
            self._opened.request(
                run_id,
                data,
                actor=actor,
                event_id=event_id,
                time=time,
                correlation_id=correlation_id,
                traceparent=traceparent,
                wait_s=wait_s,
            )
        )

    async def _open(self) -> Publisher:
        publisher = Publisher(self._address, settings=self._settings, **self._options)
        return await publisher.__aenter__()

    async def _answers(self, triggers: list[Trigger], wait_s: float | None) -> list[Answer]:
        return [answer async for answer in self._opened.publish_many(triggers, wait_s=wait_s)]

    @property
    def _opened(self) -> Publisher:
        if self._publisher is None or self._loop is None:
            raise PublisherClosed(
                "The publisher is not open: expected it inside `with BlockingPublisher(…)`. "
                "Nothing was appended."
            )
        return self._publisher

    def _run(self, work: Coroutine[Any, Any, R]) -> R:
        loop = self._loop
        if loop is None or self._process_id != os.getpid():
            work.close()
            raise PublisherClosed(
                f"The publisher belongs to process {self._process_id}, or is closed: expected an "
                f"open one of process {os.getpid()}. Nothing was appended: make one after the fork."
            )
        future = asyncio.run_coroutine_threadsafe(work, loop)
        try:
            return future.result()
        except KeyboardInterrupt:
            future.cancel()
            raise
