"""Writing a proposal: decisions become numbered, encoded facts, applied to copies of the runs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

from meshline.engine.core.decider import close_gaps, decide_outcome, decide_request
from meshline.engine.core.decision import Decision, Decisions, Moment
from meshline.engine.core.reducer import evolve
from meshline.engine.core.state import PartitionState, RunState
from meshline.events.codec import encode
from meshline.events.envelope import Event
from meshline.events.facts import WorkflowRegistered
from meshline.events.requests import StepError
from meshline.workflow.registry import Registry
from meshline.workflow.spec import WorkflowSpec

__all__ = ["Draft", "Outcome", "Proposal"]


class Outcome(NamedTuple):
    """What a try gave."""

    run_id: str
    step: str
    attempt: int
    result: Any
    error: StepError | None


@dataclass(slots=True)
class Proposal:
    """Facts that were sent to the log and not read back yet, and the runs as they make them."""

    events: list[Event[Any]] = field(default_factory=list)
    values: list[bytes] = field(default_factory=list)
    runs: dict[str, RunState] = field(default_factory=dict)
    confirmed: int = 0


class Draft:
    """A proposal while it is written: facts are numbered, applied to copies of runs, encoded."""

    def __init__(
        self, state: PartitionState, registry: Registry, source: str, moment: Moment
    ) -> None:
        self.proposal = Proposal()
        self.size_bytes = 0
        self._state = state
        self._registry = registry
        self._source = source
        self._moment = moment
        self._sequence = state.fence.sequence

    def register(self, spec: WorkflowSpec) -> None:
        fact = WorkflowRegistered(
            workflow=spec.name,
            version=spec.version,
            spec_hash=spec.spec_hash,
            spec=dict(spec.data),
        )
        self._say(Decision(fact), f"workflow:{spec.name}", None)

    def outcome(self, outcome: Outcome, *, goes_on: bool = True) -> None:
        """Say what a try gave and, if ``goes_on``, what follows from it."""
        run = self._run(outcome.run_id)
        if run is not None:
            self._drive(
                run,
                run.run_id,
                decide_outcome(run, outcome.step, outcome.attempt, outcome.result, outcome.error),
            )
            if goes_on:
                self.gaps(run.run_id)

    def request(self, cause: str) -> None:
        request = self._state.pending.get(cause)
        if request is None:
            return
        run_id = request.subject
        run = self._run(run_id)
        decisions = decide_request(
            self._registry.spec,
            self._registry.for_trigger,
            run,
            self._state.ended.get(run_id) if run is None else None,
            request,
            cause,
            self._moment,
        )
        self._drive(run, run_id, decisions, request)
        self.gaps(run_id)

    def gaps(self, run_id: str) -> None:
        run = self._run(run_id)
        if run is not None:
            spec = self._registry.spec(run.workflow, run.version)
            self._drive(run, run_id, close_gaps(spec, run, self._moment))

    def _run(self, run_id: str) -> RunState | None:
        """Return the run as this draft makes it: a copy, so that the state stays what is so."""
        run = self.proposal.runs.get(run_id)
        if run is None:
            run = self._state.runs.get(run_id)
            run = None if run is None else run.copy()
        return run

    def _drive(
        self,
        run: RunState | None,
        run_id: str,
        decisions: Decisions,
        request: Event[Any] | None = None,
    ) -> None:
        said = False
        for decision in decisions:
            event = self._say(decision, run_id, run)
            answers = request if decision.causation_id is not None else None
            run = evolve(run, event, answers, self._state.ended.get(run_id))
            said = True
        if said and run is not None:
            self.proposal.runs[run_id] = run

    def _say(self, decision: Decision, subject: str, run: RunState | None) -> Event[Any]:
        self._sequence += 1
        epoch = self._moment.epoch
        event = Event(
            id=f"{epoch}-{self._sequence}",
            source=self._source,
            subject=subject,
            time=decision.time or self._moment.now,
            data=decision.data,
            recorded_at=self._moment.now,
            epoch=epoch,
            sequence=self._sequence,
            causation_id=decision.causation_id,
            actor=decision.actor,
        )
        value = encode(event)
        self.size_bytes += len(value)
        self.proposal.events.append(event)
        self.proposal.values.append(value)
        return event
