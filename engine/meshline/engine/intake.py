"""Taking in signals from topics of others: each becomes a trigger in the log, at least once.

A signal counts as read once its trigger is in the log. If the worker dies in between it comes
again, with the same event id, as the same trigger: the keeper answers it as repeated. What can't
be read becomes a trigger that says so, so that it is listed and stops nothing behind it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol
from urllib.parse import quote

from meshline.events.clock import Clock, SystemClock
from meshline.events.codec import encode
from meshline.events.envelope import Actor, Event
from meshline.events.errors import AppendRefused, MeshlineError, PayloadRefused
from meshline.events.gate import Gate, kept
from meshline.events.ids import partition_of
from meshline.events.log import Accepted, Entry, EventLog, Refused
from meshline.events.log.kafka_signal import SourceSignal
from meshline.events.publish.answer import Trigger
from meshline.events.publish.triggers import Received, receive
from meshline.events.requests import TriggerReceived

__all__ = ["Intake", "IntakeSettings", "IntakeStatus", "SignalSource"]

logger = logging.getLogger("meshline.engine")


class SignalSource(Protocol):
    """Where signals come from: see ``KafkaSource``."""

    async def start(self) -> None: ...

    async def fetch(self, signals_max: int, wait_s: float) -> list[SourceSignal]: ...

    async def commit(self, signals: Sequence[SourceSignal]) -> None: ...

    async def aclose(self) -> None: ...


@dataclass(frozen=True, slots=True)
class IntakeSettings:
    """Limits and times.

    Args:
        fetch_signals_max: signals of one append, and what may come again after a crash.
        fetch_wait_s: how long one look for signals lasts.
        retry_s, retry_s_max: wait before the first further try after a failure, and the most;
            doubled each time.
    """

    fetch_signals_max: int = 500
    fetch_wait_s: float = 1.0
    retry_s: float = 0.1
    retry_s_max: float = 5.0


@dataclass(frozen=True, slots=True)
class IntakeStatus:
    """How an intake fares in this process; ``error`` is why it stands still now, if it does."""

    name: str
    taken: int
    unreadable: int
    error: str | None


class _Outgoing(NamedTuple):
    signal: SourceSignal
    entry: Entry


class Intake:
    """Takes what comes from one source, in its order, until it is cancelled.

    Args:
        log: opened; the caller closes it.
        new_source: makes the source; called again after every failure.
        name: the topic's, for people, and as the actor in the history.
        counts_as: the source that the signals are taken to come from, whatever they say of
            themselves; None leaves it to them.
    """

    def __init__(
        self,
        log: EventLog,
        new_source: Callable[[], SignalSource],
        *,
        name: str,
        counts_as: str | None = None,
        gate: Gate | None = None,
        clock: Clock | None = None,
        settings: IntakeSettings | None = None,
    ) -> None:
        self._log = log
        self._new_source = new_source
        self._name = name
        self._counts_as = counts_as
        self._gate = gate or Gate()
        self._clock = clock or SystemClock()
        self._settings = settings or IntakeSettings()
        self._taken = 0
        self._unreadable = 0
        self._error: str | None = None
        self._failures = 0

    def status(self) -> IntakeStatus:
        return IntakeStatus(self._name, self._taken, self._unreadable, self._error)

    async def run(self) -> None:
        """Take in signals for ever; a source that fails is tried again.

        Raises:
            AppendRefused: the log takes not even a trigger that says that one is unreadable.
        """
        while True:
            source = self._new_source()
            try:
                await source.start()
                while True:
                    await self._take_in(source)
            except AppendRefused:
                raise
            except Exception as error:  # a client library may raise anything
                self._fail(error)
            finally:
                await source.aclose()
            await asyncio.sleep(self._delay_s())

    async def _take_in(self, source: SignalSource) -> None:
        settings = self._settings
        signals = await source.fetch(settings.fetch_signals_max, settings.fetch_wait_s)
        if signals:
            await self._append(signals)
            self._taken += len(signals)
            self._unreadable += sum(signal.problem is not None for signal in signals)
            await source.commit(signals)
        self._failures, self._error = 0, None

    def _fail(self, error: Exception) -> None:
        self._failures += 1
        self._error = str(error) if isinstance(error, MeshlineError) else repr(error)
        logger.warning(
            "The intake of %s is tried again in %.1f s: %s",
            self._name,
            self._delay_s(),
            self._error,
        )

    def _delay_s(self) -> float:
        # Bounded before the power: 2.0 ** 1100 is no float.
        growth = 2.0 ** min(max(self._failures - 1, 0), 30)
        return min(self._settings.retry_s * growth, self._settings.retry_s_max)

    # -- appending -----------------------------------------------------------------------------

    async def _append(self, signals: Sequence[SourceSignal]) -> None:
        """Return when all of them are in the log."""
        partitions = self._log.identity.partitions
        left: dict[int, list[_Outgoing]] = {}
        for signal in signals:
            entry = self._entry(signal)
            left.setdefault(partition_of(entry.key, partitions), []).append(
                _Outgoing(signal, entry)
            )
        while left:
            results = await self._log.append_by_partition(
                {partition: [each.entry for each in some] for partition, some in left.items()}
            )
            for partition, result in results.items():
                if isinstance(result, Accepted):
                    del left[partition]
                elif isinstance(result, Refused):
                    # One of them is at fault: the others must not suffer for it.
                    for outgoing in left.pop(partition):
                        await self._append_alone(partition, outgoing)
            if left:
                await self._pause()

    async def _append_alone(self, partition: int, outgoing: _Outgoing) -> None:
        signal, entry = outgoing
        while True:
            result = await self._log.append(partition, [entry])
            if isinstance(result, Accepted):
                return
            if not isinstance(result, Refused):
                await self._pause()
            elif signal.problem is None:
                signal = replace(signal, problem=PayloadRefused("refused_by_log", result.reason))
                entry = self._entry(signal)
            else:
                raise AppendRefused(
                    f"The log refused even to note that {signal.address} is unreadable: "
                    f"{result.reason} Nothing more is taken in from {self._name!r}."
                )

    async def _pause(self) -> None:
        """In the log or not, nobody knows: appended again with the same ids it counts once."""
        self._fail(TimeoutError("the log gave no answer"))
        await asyncio.sleep(self._delay_s())

    def _entry(self, signal: SourceSignal) -> Entry:
        received = self._received(signal)
        now = self._clock.now()
        event = Event(
            id=signal.address,
            source=quote(received.source),
            subject=received.run_id,
            time=received.time or now,
            data=received.data,
            recorded_at=now,
            actor=Actor("service", f"service:{self._name}"),
            traceparent=received.traceparent,
        )
        return Entry(received.run_id, encode(event))

    def _received(self, signal: SourceSignal) -> Received:
        source = self._counts_as or signal.source
        trigger = Trigger(
            source,
            signal.payload,
            signal.trigger_id,
            signal.trigger_type,
            time=signal.time,
            traceparent=signal.traceparent,
        )
        received = receive(trigger, self._gate, raw=signal.payload or b"null")
        if signal.problem is None:
            return received
        unreadable = TriggerReceived(
            source=source,
            trigger_id=signal.trigger_id,
            trigger_type=signal.trigger_type,
            unreadable=kept(signal.raw, signal.problem),
        )
        return replace(received, data=unreadable)
