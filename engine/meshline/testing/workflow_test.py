"""A workflow under test: the engine's core on a made-up log, with a clock that is moved by hand."""

from __future__ import annotations

import asyncio
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

from pydantic import BaseModel

from meshline.engine.core.draft import Outcome
from meshline.engine.core.effects import PerformStep
from meshline.engine.core.items import step_of
from meshline.engine.core.keeper import Keeper
from meshline.engine.core.plan import plan_of
from meshline.engine.core.reducer import fold
from meshline.engine.core.state import PartitionState
from meshline.engine.outcomes import failure, storable
from meshline.engine.step_context import TryContext
from meshline.engine.trial import Try
from meshline.events.clock import ManualClock
from meshline.events.codec import decode, encode
from meshline.events.directory import Directory
from meshline.events.envelope import Actor, Event
from meshline.events.errors import PayloadRefused
from meshline.events.facts import RequestRejected, TriggerRejected
from meshline.events.gate import Gate, kept, sketched
from meshline.events.ids import causation_of, run_id_of
from meshline.events.log.protocol import Accepted, Entry, LogRecord
from meshline.events.people_requests import DirectoryChangeRequested
from meshline.events.requests import Request, TriggerReceived
from meshline.testing.run_under_test import PERSON, RequestRefused, RunUnderTest
from meshline.testing.stand_ins import Crash, StandIn, Step
from meshline.workflow.define import Definition
from meshline.workflow.durations import Duration, seconds_of
from meshline.workflow.registry import Registry
from meshline.workflow.spec import StepNode, WorkflowSpec

__all__ = ["START", "WorkflowTest"]

START = datetime(2026, 1, 5, 9, tzinfo=UTC)
"""When tests begin: a Monday morning."""

ROUNDS_MAX = 100_000
"""Appends within one call; a workflow that needs more of them never comes to rest."""


class WorkflowTest:
    """Runs workflows in memory, as fast as they can be computed.

    Steps that were not given an outcome are called. Time stands still but for ``advance``.

    Args:
        workflows: definitions, or one registry.
        start: when the test begins.
    """

    def __init__(
        self, *workflows: Definition | WorkflowSpec | Registry, start: datetime = START
    ) -> None:
        first = workflows[0] if workflows else None
        self.registry = first if isinstance(first, Registry) else Registry(*workflows)  # type: ignore[arg-type]
        self.clock = ManualClock(start)
        self._gate = Gate()
        self._records: list[LogRecord] = []
        self._facts: dict[str, list[Event[Any]]] = {}
        self._answers: dict[str, Event[Any]] = {}
        self._reader = PartitionState(0)
        self._stand_ins: dict[str, StandIn] = {}
        self._requests = 0
        self._workers = 0
        self._keeper = self._new_keeper()
        self._go_on()

    # -- given ---------------------------------------------------------------------------------

    def given(self, step: Step, *outcomes: Any) -> StandIn:
        """Let a step give these outcomes instead of being called, one for each try.

        The last one stands for all further tries. An outcome is a result, an error to raise, a
        function of the step's arguments by name, or ``crash``.

        Args:
            step: its function or name; ``"undo:NAME"`` is the compensation of step NAME. Of a step
                that is done for each item, ``"NAME[0]"`` is the try for the first item alone.
        """
        name = step if isinstance(step, str) else step.__name__
        known = {n for spec in self.registry for n in (*spec.nodes, *plan_of(spec).undo)}
        if step_of(name) not in known:
            raise ValueError(
                f"There is no step {name!r}: expected one of {', '.join(sorted(known))}. Correct "
                "the name."
            )
        self._stand_ins[name] = StandIn(outcomes or (None,))
        return self._stand_ins[name]

    def given_directory(self, directory: Directory, *, by: str = PERSON) -> None:
        """Let this be the directory from now on.

        Raises:
            RequestRefused: it can't be, or that person may not change it.
        """
        number = self.state.people.number + 1
        self.ask("directory", DirectoryChangeRequested(number=number, directory=directory), by=by)

    # -- when ----------------------------------------------------------------------------------

    def start(
        self,
        payload: Any,
        *,
        id: str | None = None,
        workflow: str | None = None,
        source: str | None = None,
        trigger_type: str | None = None,
        time: datetime | None = None,
        by: str | None = None,
    ) -> RunUnderTest:
        """Send a trigger and return its run.

        Args:
            id: of the trigger; the same id is the same run. By default a new one.
            workflow: which one, if the test has several.
            source: another than the workflow's.
            time: when it happened, if that is not now.
            by: who sends it, such as ``user:ada``, and so may not approve it.
        Raises:
            RequestRefused: the trigger starts nothing.
        """
        spec = None if source is not None and trigger_type is not None else self._spec(workflow)
        data = self._trigger(
            payload,
            id or f"trigger-{self._requests + 1}",
            source if source is not None else spec.source if spec else "",
            trigger_type if trigger_type is not None else spec.trigger_type if spec else "",
        )
        run_id = run_id_of(data.source, data.trigger_id)
        self.ask(run_id, data, by=by, time=time)
        return RunUnderTest(self, run_id)

    def _spec(self, workflow: str | None) -> WorkflowSpec:
        names = sorted({spec.name for spec in self.registry if spec.silence_of is None})
        if workflow is None and len(names) != 1:
            raise ValueError(
                f"The test has {len(names)} workflows: expected workflow=, one of "
                f"{', '.join(names)}."
            )
        spec = self.registry.newest(workflow or names[0])
        if spec is None:
            raise ValueError(f"There is no workflow {workflow!r}: expected one of {names}.")
        return spec

    def _trigger(self, payload: Any, id: str, source: str, trigger_type: str) -> TriggerReceived:
        given: dict[str, Any] = {"source": source, "trigger_id": id, "trigger_type": trigger_type}
        try:
            return TriggerReceived(**given, payload=self.plain(payload))
        except PayloadRefused as refusal:
            return TriggerReceived(**given, unreadable=kept(sketched(payload), refusal))

    def advance(self, duration: Duration) -> None:
        """Let time pass, from one wake-up to the next; whatever is due happens when it is due."""
        self._advance_to(self.clock.now() + timedelta(seconds=seconds_of(duration, "time to pass")))

    def advance_to_end(self, limit: Duration = "365d") -> None:
        """Let time pass until nothing happens any more by itself, at most so long."""
        end = self.clock.now() + timedelta(seconds=seconds_of(limit, "longest time to pass"))
        while (at := self._keeper.next_wakeup()) is not None and at <= end:
            self._advance_to(max(at, self.clock.now()))

    def _advance_to(self, target: datetime) -> None:
        while (at := self._keeper.next_wakeup()) is not None and at <= target:
            self.clock.set(max(at, self.clock.now()))
            self._go_on()
        self.clock.set(target)
        self._go_on()

    def restart(self) -> None:
        """Let another worker take over, with nothing but the log."""
        self._keeper = self._new_keeper()
        self._go_on()

    def replace(self, *workflows: Definition | WorkflowSpec) -> None:
        """Go on with other definitions, as after a deployment."""
        self.registry = Registry(*workflows)
        self._keeper.replace_registry(self.registry)
        self._go_on()

    def ask(
        self,
        run_id: str,
        data: Request,
        *,
        by: str | None = None,
        time: datetime | None = None,
        event_id: str | None = None,
    ) -> None:
        """Append any request, and let everything go on that follows.

        Args:
            by: who asks, such as ``user:ada``.
        Raises:
            RequestRefused: the answer is a refusal.
        """  # fmt: skip
        self._requests += 1
        now = self.clock.now()
        event = Event(
            id=event_id or f"request-{self._requests}",
            source="test",
            subject=run_id,
            time=time or now,
            data=data,
            recorded_at=now,
            actor=None if by is None else Actor("user", by),
        )
        cause = causation_of(0, self._append([Entry(run_id, encode(event))]))
        self._go_on()
        answer = self._answers.get(cause)
        if answer is not None and isinstance(answer.data, RequestRejected | TriggerRejected):
            raise RequestRefused(answer.data.code, answer.data.reason)

    def plain(self, value: Any) -> Any:
        """Return a payload as a publisher sends it.

        Raises:
            PayloadRefused: it does not pass the gate.
        """
        plain = value.model_dump(mode="json") if isinstance(value, BaseModel) else value
        return self._gate.check(plain)

    # -- then ----------------------------------------------------------------------------------

    @property
    def now(self) -> datetime:
        return self.clock.now()

    @property
    def state(self) -> PartitionState:
        """All that is so; for looking at, not for changing."""
        return self._keeper.state

    @property
    def records(self) -> list[LogRecord]:
        """The log, for looking at."""
        return self._records

    def facts(self, run_id: str) -> list[Event[Any]]:
        """Return the facts about a run that count."""
        return self._facts.get(run_id, [])

    # -- the engine around the core ------------------------------------------------------------

    def _new_keeper(self) -> Keeper:
        self._workers += 1
        keeper = Keeper(
            PartitionState(0), self.registry, name=f"worker-{self._workers}", source="meshline/test"
        )
        self._append([keeper.claim(f"claim-{self._workers}", self.now)])
        return keeper

    def _append(self, entries: list[Entry]) -> int:
        """Append, keep note of what counts, and return the first offset."""
        first = len(self._records)
        now_ms = int(self.now.timestamp() * 1000)
        for offset, entry in enumerate(entries, first):
            self._records.append(LogRecord(0, offset, entry.key, entry.value, now_ms))
            event = decode(entry.value)
            if fold(self._reader, event, offset) and event.is_fact:
                self._facts.setdefault(event.subject, []).append(event)
                if event.causation_id is not None:
                    self._answers.setdefault(event.causation_id, event)
        return first

    def _go_on(self) -> None:
        """Let everything happen that can happen without time passing."""
        tries: deque[PerformStep] = deque()
        for _ in range(ROUNDS_MAX):
            keeper = self._keeper
            keeper.read(self._records[keeper.state.next_offset :])
            tries.extend(e for e in keeper.take_effects() if isinstance(e, PerformStep))
            entries = keeper.propose(self.now)
            if entries:
                first = self._append(entries)
                keeper.appended(Accepted(first, first + len(entries) - 1, contiguous=True))
            elif tries:
                self._try(tries.popleft())
                if keeper is not self._keeper:
                    tries.clear()
            elif not keeper.has_work:
                return
        raise AssertionError(f"The workflow did not come to rest within {ROUNDS_MAX} appends")

    def _try(self, effect: PerformStep) -> None:
        run = self.state.runs.get(effect.run_id)
        spec = None if run is None else self.registry.spec(run.workflow, run.version)
        node = None if spec is None else plan_of(spec).step(effect.step, spec)
        if run is None or node is None or node.outside:
            return
        trial = Try(run, node, effect.attempt)
        result, error = None, None
        try:
            result = storable(node, self._call(trial, node), self._gate)
        except Crash:
            self._keeper = self._new_keeper()
            return
        except Exception as raised:
            error = failure(trial, raised)
        self._keeper.outcome(Outcome(*trial.key, result, error))

    def _call(self, trial: Try, node: StepNode) -> Any:
        # Heartbeats are all at 0.0: nothing is slow in a test.
        context = TryContext(trial, float)
        arguments = trial.arguments(context)
        stand_in = self._stand_ins.get(node.name) or self._stand_ins.get(step_of(node.name))
        if stand_in is not None:
            return stand_in(arguments)
        assert node.call is not None
        if not node.is_async:
            return node.call(**arguments)
        return _run_async(node.call(**arguments))


def _run_async(coroutine: Any) -> Any:
    """Run a step to its end, also where the test itself runs in an event loop."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(coroutine)
    with ThreadPoolExecutor(1) as threads:
        return threads.submit(asyncio.run, coroutine).result()
