"""Taking signals in from a topic of somebody else: each becomes a trigger, none is lost."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Protocol

from meshline.events.envelope import Actor
from meshline.events.errors import AppendRefused, AppendUnknown, LogUnavailable, PayloadRefused
from meshline.events.log.kafka_signal import SourceSignal
from meshline.events.publish.answer import Answer
from meshline.events.publish.publisher import Publisher

__all__ = ["Listener", "SignalSource"]

logger = logging.getLogger("meshline.events")

RETRY_S, RETRY_S_MAX = 0.2, 10.0


class SignalSource(Protocol):
    """Where signals come from; see ``KafkaSource``."""

    async def fetch(self, signals_max: int, wait_s: float) -> list[SourceSignal]: ...

    async def commit(self, signals: Sequence[SourceSignal]) -> None: ...


class Listener:
    """Publishes what a source says, and tells the source when it is in the log.

    A crash in between publishes some of it again, which changes nothing: the same source and id
    are the same trigger.

    Args:
        source: started.
        actor: whose doing the triggers are.
        batch_max: signals that are published together.
    """

    def __init__(
        self, source: SignalSource, publisher: Publisher, *, actor: Actor, batch_max: int = 500
    ) -> None:
        self._source = source
        self._publisher = publisher
        self._actor = actor
        self._batch_max = batch_max
        self.taken = 0
        self.refused = 0

    async def run(self) -> None:
        """Go on until cancelled. What is not committed then comes again."""
        while True:
            signals = await self._source.fetch(self._batch_max, 1.0)
            if not signals:
                continue
            answers = await self._published(signals)
            self.taken += len(answers)
            self.refused += sum(answer.status == "rejected" for answer in answers)
            await self._committed(signals)

    async def _published(self, signals: Sequence[SourceSignal]) -> list[Answer]:
        """Publish until all of it is in the log for sure: nothing may be left out."""
        delay_s = RETRY_S
        while True:
            try:
                return await asyncio.gather(*(self._publish(signal) for signal in signals))
            except (AppendUnknown, LogUnavailable) as error:
                logger.warning("%d signals are published again: %s", len(signals), error)
            await asyncio.sleep(delay_s)
            delay_s = min(2 * delay_s, RETRY_S_MAX)

    async def _publish(self, signal: SourceSignal) -> Answer:
        problem = signal.problem
        if problem is None and signal.payload is not None:
            try:
                return await self._publisher.publish_raw(
                    signal.source,
                    signal.payload,
                    trigger_id=signal.trigger_id,
                    trigger_type=signal.trigger_type,
                    time=signal.time,
                    traceparent=signal.traceparent,
                    actor=self._actor,
                )
            except AppendRefused as refusal:
                # What can't be kept as it is, is kept as far as it can be.
                problem = PayloadRefused("refused_by_log", refusal.message)
        assert problem is not None, signal
        return await self._publisher.publish_refused(
            signal.source,
            signal.raw,
            problem,
            trigger_id=signal.trigger_id,
            trigger_type=signal.trigger_type,
            time=signal.time,
            actor=self._actor,
        )

    async def _committed(self, signals: Sequence[SourceSignal]) -> None:
        try:
            await self._source.commit(signals)
        except LogUnavailable as error:
            logger.warning("%s", error)
